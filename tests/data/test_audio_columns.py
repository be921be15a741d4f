"""Which columns of the stored audio a feature type selects."""

import pytest

from mme2e_jax.data.audio_columns import audio_columns
from mme2e_jax.errors import UserError

# By feature type, as the paper's code counts them.
WIDTHS = (144, 120, 130, 34, 70, 106, 306)


@pytest.mark.parametrize(("feature_type", "width"), list(enumerate(WIDTHS)))
def test_of_the_full_set_each_type_selects_its_columns(feature_type: int, width: int) -> None:
    columns = audio_columns(feature_type, 763)

    assert len(columns) == len(set(columns)) == width
    assert max(columns) <= 762
    assert columns == audio_columns(feature_type, 1582)


def test_types_of_the_full_set_are_bands_mfcc_and_statistics_of_descriptors() -> None:
    assert audio_columns(0, 763)[30:38] == (30, 31, 32, 33, 655, 656, 657, 658)
    assert audio_columns(0, 763)[-3:] == (762, 100, 101)
    assert audio_columns(1, 763)[:13] == (*range(22, 34), 655)
    assert audio_columns(2, 763)[20:24] == (20, 21, 655, 656)
    assert audio_columns(3, 763) == tuple(range(34))
    assert audio_columns(4, 763)[34:40] == (655, 656, 661, 662, 667, 668)
    assert audio_columns(5, 763)[34:40] == (655, 656, 657, 658, 661, 662)
    assert audio_columns(6, 763)[33:36] == (33, 58, 59)
    assert audio_columns(6, 763)[-109:-107] == (581, 655)


@pytest.mark.parametrize("feature_type", range(6))
def test_of_144_columns_a_type_selects_the_same_by_their_place_in_type_0(feature_type: int) -> None:
    stored = audio_columns(0, 763)

    places = audio_columns(feature_type, 144)

    assert tuple(stored[place] for place in places) == audio_columns(feature_type, 763)


def test_144_columns_lack_what_type_6_selects() -> None:
    with pytest.raises(UserError, match=r"audio_feature_type: expected 0, 1, 2, 3, 4, 5 for .* 144 columns .* found 6"):
        audio_columns(6, 144)


def test_features_of_another_origin_are_all_selected_or_none() -> None:
    assert audio_columns(0, 74) == tuple(range(74))
    with pytest.raises(UserError, match=r"audio_feature_type: expected 0 for records whose audio has 74 columns"):
        audio_columns(1, 74)

"""Batch loaders refuse features of other widths than the model's."""

from pathlib import Path
from typing import Any

import pytest

from configs import lf_rnn
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.runs.load import make_batch_loader
from mme2e_jax.runtime.sharding import DataMesh
from tests.helpers.synthetic import make_feature_records, shrink


@pytest.fixture(scope="module")
def dataset(feature_records: Path) -> Dataset:
    return open_dataset(feature_records, kind="features")


def config_of(dataset: Dataset, feature_type: int, sizes: tuple[int, int, int]) -> Any:
    config = shrink(lf_rnn.get_config(), dataset.directory)
    config.data.audio_feature_type, config.model.feature_sizes = feature_type, sizes
    return config


def first_widths(config: Any, dataset: Dataset) -> list[int]:
    batch = next(make_batch_loader(parse_config(config), dataset, DataMesh(1), 1).training(0))
    return [x.shape[-1] for x in (batch.text, batch.audio, batch.video)]


@pytest.mark.parametrize(("feature_type", "width"), [(0, 144), (1, 120), (3, 34)])
def test_batches_have_the_columns_of_the_feature_type(dataset: Dataset, feature_type: int, width: int) -> None:
    config = config_of(dataset, feature_type, (300, width, 35))

    assert first_widths(config, dataset) == [300, width, 35]


def test_records_of_the_full_set_give_every_type(tmp_path: Path) -> None:
    sizes = {"train": 2, "valid": 2, "test": 2}
    dataset = open_dataset(make_feature_records(tmp_path / "full", sizes, (4, 800, 3)), kind="features")

    assert first_widths(config_of(dataset, 6, (4, 306, 3)), dataset) == [4, 306, 3]


def test_all_widths_that_are_not_the_models_are_named(dataset: Dataset) -> None:
    config = config_of(dataset, 2, (300, 144, 36))

    with pytest.raises(UserError, match=r"feature_sizes: .*130 for audio, found 144; 35 for video, found 36") as error:
        make_batch_loader(parse_config(config), dataset, DataMesh(1), 1)
    assert "for text" not in str(error.value)


def test_a_modality_that_is_not_used_may_have_any_width(dataset: Dataset) -> None:
    # There is no type 6 of these records either.
    config = config_of(dataset, 6, (300, 144, 36))
    config.model.modalities = "t"

    assert first_widths(config, dataset)[0] == 300


def test_a_feature_type_that_the_records_do_not_have_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"audio_feature_type: expected 0, 1, 2, 3, 4, 5 .* found 6"):
        make_batch_loader(parse_config(config_of(dataset, 6, (300, 306, 35))), dataset, DataMesh(1), 1)

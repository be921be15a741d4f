"""Tests hashed character n-grams of words."""

import numpy as np
import pytest

from mme2e_jax.media.features.text import text_features


def cosine(first: str, second: str) -> float:
    # Rows have length 1.
    return float((text_features(first) * text_features(second)).sum())


def test_every_word_has_a_row_of_length_one() -> None:
    rows = text_features("How dare you, Café!")

    assert rows.shape == (4, 300)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def test_a_short_word_has_a_column_for_each_of_its_ngrams() -> None:
    # " i " is the one n-gram of at least three characters; " am", "am " and " am " are three.
    one, three = text_features("I am")

    assert sorted(np.abs(one[one != 0])) == [1]
    np.testing.assert_allclose(np.abs(three[three != 0]), 3**-0.5, rtol=1e-6)
    assert np.count_nonzero(three) == 3


def test_hashes_are_those_of_every_other_run() -> None:
    # MurmurHash3 with seed 0 of " i " is -705925570: a negative number in column 705925570 % 300.
    assert np.flatnonzero(text_features("I")[0]).tolist() == [70]
    assert text_features("I")[0, 70] == -1


def test_a_word_does_not_depend_on_its_neighbours() -> None:
    alone = text_features("wonderful")[0]

    np.testing.assert_array_equal(text_features("what a wonderful day")[2], alone)
    np.testing.assert_array_equal(text_features("wonderful\twonderful\n")[1], alone)


def test_case_and_accents_make_no_difference() -> None:
    np.testing.assert_array_equal(text_features("CAFÉ"), text_features("cafe"))


def test_words_that_share_letters_share_columns() -> None:
    assert cosine("happy", "happiness") > 0.2
    assert cosine("really?", "really") > 0.5
    assert abs(cosine("happy", "terrified")) < 0.2


@pytest.mark.parametrize("transcript", ["", " \n\t "])
def test_no_words_are_no_rows(transcript: str) -> None:
    rows = text_features(transcript)

    assert rows.shape == (0, 300)
    assert rows.dtype == np.float32


def test_any_script_is_finite() -> None:
    rows = text_features("你好 — 😀 \u0301 привет")

    assert rows.shape == (5, 300)
    assert np.isfinite(rows).all()
    # An accent alone is stripped, and nothing is left of the word.
    assert np.linalg.norm(rows, axis=1).round(5).tolist() == [1, 1, 1, 0, 1]

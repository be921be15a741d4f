"""Unusable records: each is reported with its file and utterance, and at most as many as allowed are left out."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mme2e_jax.batch import Batch
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from tests.helpers.corrupt import changed, flip, rewrite, with_array, without
from tests.helpers.synthetic import make_feature_records, make_records

SPLITS = {"train": 12, "valid": 4, "test": 4}
BAD = {"test": "mini-test.array_record-00000", "train": "mini-train.array_record-00001"}


def make_loader(directory: Path, kind: str = "media", told: list[str] | None = None, **changes: Any) -> BatchLoader:
    settings: dict[str, Any] = {
        "batch_size": 4,
        "text_max_len": 20,
        "seed": 0,
        "epochs": 2,
        "max_shapes": 2,
        "groups": 1,
    }
    log: Callable[[str], object] = print if told is None else told.append
    return BatchLoader(open_dataset(directory, kind=kind), log=log, **(settings | changes))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_array("mel", np.float32, 5, np.nan), "mel holds 1 numbers that are NaN or infinite"),
        (with_array("mel", np.float32, 0, -np.inf), "mel holds 1 numbers that are NaN or infinite"),
        (with_array("label", np.float32, 0, np.nan), "label holds 1 numbers"),
        (with_array("label", np.float32, 0, 0.5), r"expected labels 0 and 1, found \[0\.5, 0\.0"),
        (with_array("token_ids", np.int32, 1, 100), "expected token_ids from 0 to 99, found 2 to 100"),
        (with_array("token_ids", np.int32, 1, -1), "expected token_ids from 0 to 99, found -1 to"),
        (changed("faces", lambda stored: stored[:-1]), r"expected faces as uint8 \[2, 48, 48, 3\], found 13823 bytes"),
        (changed("mel", lambda stored: stored * 2), r"expected mel as float32 \[3, 128, 32\], found 98304 bytes"),
        (changed("label", lambda stored: stored[:20]), r"expected label as float32 \[6\], found 20 bytes"),
        (changed("utterance_id", lambda _: b"../x\xff"), r"it holds another utterance, '\.\./x.'"),
        (without("mel"), "expected mel as one value of bytes, found 0"),
        (without("utterance_id"), "expected utterance_id as one value of bytes, found 0"),
        (lambda _: b"", "expected utterance_id as one value of bytes, found 0"),
        (lambda _: b"\xff" * 9, "expected a tf.train.Example, found 9 other bytes"),
        (lambda stored: stored[: len(stored) // 2], "expected a tf.train.Example, found"),
    ],
)
def test_a_record_of_no_use_is_told_with_its_file_and_what_to_do(tmp_path: Path, change: Any, found: str) -> None:
    directory = make_records(tmp_path / "records", SPLITS)
    rewrite(directory / BAD["test"], 3, change)

    with pytest.raises(UserError, match=rf"utterance test_3: .*{BAD['test']}, record 3 \(test\): {found}") as error:
        list(make_loader(directory).evaluation("test"))
    assert f"Prepare {directory} again" in str(error.value)
    assert "--config.data.skip_bad=1" in str(error.value)
    # Nothing of TensorFlow's is chained to it, so that nothing of it is printed.
    assert not isinstance(error.value.__context__, tf.errors.OpError)


@pytest.mark.parametrize("name", ["text", "audio", "video"])
def test_a_number_that_is_not_finite_is_found_in_features_too(tmp_path: Path, name: str) -> None:
    directory = make_feature_records(tmp_path / "records", SPLITS)
    rewrite(directory / BAD["test"], 3, with_array(name, np.float32, -1, np.inf))

    with pytest.raises(UserError, match=rf"utterance test_3: .*{name} holds 1 numbers that are NaN or infinite"):
        list(make_loader(directory, "features").evaluation("test"))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Records of which train_8 has a NaN and train_9 a flipped bit, and test_1 lacks its sound."""
    directory = make_records(tmp_path / "records", SPLITS)
    rewrite(directory / BAD["train"], 0, with_array("mel", np.float32, 7, np.nan))
    flip(directory / BAD["train"], (directory / BAD["train"]).read_bytes().index(b"train_9"))
    rewrite(directory / BAD["test"], 1, without("mel"))
    return directory


def test_utterances_that_are_left_out_are_rows_of_padding_and_all_others_as_before(
    damaged: Path, tmp_path: Path
) -> None:
    whole = make_loader(make_records(tmp_path / "whole", SPLITS), groups=2)
    told: list[str] = []
    batches = make_loader(damaged, told=told, groups=2, skip_bad=3)

    for split, bad in (("train", {8, 9}), ("test", {1})):
        pairs = zip(
            batches.training(0) if split == "train" else batches.evaluation(split),
            whole.training(0) if split == "train" else whole.evaluation(split),
            strict=True,
        )
        for found, expected in pairs:
            assert_equal_without(found, expected, bad)
    assert set(batches.skipped.report()) == {"train_8", "train_9", "test_1"}
    # Once each, though two epochs met them.
    assert len(told) == 3
    assert "test_1" in told[2]
    assert told[2].startswith("Left out (3 of at most 3): utterance test_1, ")


def assert_equal_without(found: Batch, expected: Batch, bad: set[int]) -> None:
    left_out = np.isin(expected.example, list(bad))
    np.testing.assert_array_equal(found.example, np.where(left_out, -1, expected.example))
    for name in ("token_count", "frame_count", "chunk_count"):
        np.testing.assert_array_equal(getattr(found, name), np.where(left_out, 0, getattr(expected, name)))
    for name in ("token_ids", "labels"):
        value = getattr(expected, name)
        np.testing.assert_array_equal(getattr(found, name), np.where(left_out[..., None], 0, value))
    for array, count in (("faces", "frame_count"), ("mel", "chunk_count")):
        for g, counts in enumerate(getattr(expected, count)):
            owner = np.repeat(np.arange(len(counts)), counts)
            kept = getattr(expected, array)[g][: len(owner)][~left_out[g][owner]]
            np.testing.assert_array_equal(getattr(found, array)[g][: len(kept)], kept)
            assert not getattr(found, array)[g][len(kept) :].any()


@pytest.mark.parametrize(("skip_bad", "met"), [(0, 1), (1, 2), (2, 3)])
def test_one_more_than_is_allowed_stops_and_names_all(damaged: Path, skip_bad: int, met: int) -> None:
    batches = make_loader(damaged, skip_bad=skip_bad)

    with pytest.raises(UserError, match=f"Expected at most {skip_bad} utterances .*, found {met}:") as error:
        list(itertools.chain(batches.training(0), batches.evaluation("test")))
    assert str(error.value).count("  - utterance ") == met
    assert f"--config.data.skip_bad={met} or more" in str(error.value)


def test_what_is_left_out_does_not_depend_on_what_was_met_before(damaged: Path) -> None:
    whole = list(make_loader(damaged, skip_bad=3).training(0))
    rest = list(make_loader(damaged, skip_bad=3).training(2))

    assert len(rest) == len(whole) - 2
    for found, expected in zip(rest, whole[2:], strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_error_comes_at_the_step_that_holds_the_record(damaged: Path) -> None:
    batches = make_loader(damaged)
    first = min(step for step in range(batches.total_steps) if np.isin(batches.planned(step).examples, [8, 9]).any())

    training = batches.training(0)

    seen = list(itertools.islice(training, first))
    assert len(seen) == first
    with pytest.raises(UserError, match=r"utterance train_[89]"):
        next(training)

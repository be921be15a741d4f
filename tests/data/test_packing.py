"""Feature batches hold what the records hold, each utterance's rows padded with zeros."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.records.records import write_dataset
from mme2e_jax.batch import Batch, FeatureBatch
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.errors import UserError
from tests.helpers.synthetic import (
    FEATURE_SIZES,
    METADATA,
    SIZES,
    make_example,
    make_feature_example,
    make_feature_records,
)

TEXT_MAX_LEN = 20


@pytest.fixture(scope="module")
def dataset(feature_records: Path) -> Dataset:
    return open_dataset(feature_records, kind="features")


def make_loader(dataset: Dataset, groups: int, **changes) -> BatchLoader:
    settings: dict[str, Any] = {"batch_size": 4, "text_max_len": TEXT_MAX_LEN, "seed": 0, "epochs": 1, "max_shapes": 2}
    return BatchLoader(dataset, groups=groups, **(settings | changes))


def padded_by_hand(batch: FeatureBatch, split: str, columns: Sequence[int] = range(144)) -> FeatureBatch:
    """What the records say a batch must hold, given which utterance is in which row."""
    expected = FeatureBatch(*(np.zeros_like(x) for x in batch))._replace(example=batch.example)
    for place in np.ndindex(batch.example.shape):
        index = int(batch.example[place])
        if index < 0:
            continue
        example = make_feature_example(split, index)
        text, audio, video = example["text"][:TEXT_MAX_LEN], example["audio"][:, list(columns)], example["video"]
        for rows, array, count in (
            (text, expected.text, expected.text_count),
            (audio, expected.audio, expected.audio_count),
            (video, expected.video, expected.video_count),
        ):
            array[place][: len(rows)] = rows
            count[place] = len(rows)
        expected.labels[place] = example["label"]
    return expected


def assert_equal_batches(found: FeatureBatch, expected: FeatureBatch) -> None:
    for name, a, b in zip(FeatureBatch._fields, found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name, strict=True)


@pytest.mark.parametrize("groups", [1, 2])
def test_feature_batches_hold_the_records_rows(dataset: Dataset, groups: int) -> None:
    batches = make_loader(dataset, groups)
    for found, split in [(batches.training(0), "train"), (batches.evaluation("valid"), "valid")]:
        seen = []
        for batch in found:
            assert isinstance(batch, FeatureBatch)
            assert batch.example.shape == (groups, 4 // groups)
            assert [x.shape[-1] for x in (batch.text, batch.audio, batch.video)] == list(FEATURE_SIZES)
            assert_equal_batches(batch, padded_by_hand(batch, split))
            seen += batch.example[batch.example >= 0].tolist()
        assert sorted(seen) == list(range(SIZES[split]))


def test_every_utterance_fits_the_shape_of_its_batch(dataset: Dataset) -> None:
    # The last resort too holds one utterance's rows, not those of all together.
    batches = make_loader(dataset, 1, max_shapes=1)

    assert {(s.frames, s.chunks) for s in batches.ladder} == {(5, 6)}
    for batch in batches.training(0):
        assert batch.text.shape[:3] == (1, 4, TEXT_MAX_LEN)
        assert batch.text_count.max() <= TEXT_MAX_LEN
        assert (batch.video.shape[2], batch.audio.shape[2]) == (5, 6)


def test_the_columns_of_the_audio_are_those_asked_for_in_their_order(dataset: Dataset) -> None:
    columns = [5, 0, 143]
    for batch in make_loader(dataset, 2, audio_columns=columns).evaluation("test"):
        assert batch.audio.shape[-1] == 3
        assert_equal_batches(batch, padded_by_hand(batch, "test", columns))


def test_rows_that_are_not_those_of_the_metadata_are_refused(tmp_path: Path) -> None:
    directory = make_feature_records(tmp_path / "records", {"train": 4, "valid": 4, "test": 4})
    metadata = json.loads((directory / "metadata.json").read_text())
    metadata["splits"]["test"]["chunks"][1] += 1
    (directory / "metadata.json").write_text(json.dumps(metadata))

    with pytest.raises(UserError, match=r"utterance test_1: .*expected audio as float32 \[1, 144\], found 0 bytes"):
        list(make_loader(open_dataset(directory, kind="features"), 1).evaluation("test"))


def test_frames_without_a_face_and_silent_sound_are_left_out_where_absence_is_masked(tmp_path: Path) -> None:
    examples = [make_example("valid", i) for i in (3, 1, 4)]  # 2, 3 and 1 frames
    examples[0]["face_found"] = np.array([False, True])
    examples[1]["face_found"] = np.array([False, False, False])
    examples[0]["mel"] = np.full_like(examples[0]["mel"], 1e-9)
    examples[2]["mel"] = np.full_like(examples[2]["mel"], 1e-6)
    splits = {"valid": examples, "test": [make_example("test", 0)]}
    write_dataset(tmp_path, name="mini", splits=splits, metadata=METADATA, examples_per_shard=8)
    dataset = open_dataset(tmp_path)

    def only_batch(mask_absent: bool) -> Batch:
        (batch,) = make_loader(dataset, 1, epochs=0, mask_absent=mask_absent).evaluation("valid")
        return batch

    masked, whole = only_batch(True), only_batch(False)

    rows = [masked.example[0].tolist().index(i) for i in range(3)]
    assert masked.frame_count[0, rows].tolist() == [1, 0, 1]
    assert masked.chunk_count[0, rows].tolist() == [0, 0, 1]
    assert whole.frame_count[0, rows].tolist() == [2, 3, 1]
    assert whole.chunk_count[0, rows].tolist() == [3, 0, 1]
    order = sorted((0, 2), key=lambda i: rows[i])
    crops = {0: examples[0]["faces"][1], 2: examples[2]["faces"][0]}
    np.testing.assert_array_equal(masked.faces[0, :2], [crops[i] for i in order])
    assert not masked.faces[0, 2:].any()
    np.testing.assert_array_equal(masked.mel[0, 0], examples[2]["mel"][0])

"""Tests that tfds reads written records, and that failures leave nothing."""

import filecmp
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from data_tools.records.records import MEDIA, feature_schema, write_dataset
from mme2e_jax.runtime.files import OutputExistsError

METADATA = {"dataset": "made", "label_names": ["anger"], "face_size": 48}


def make_example(index: int, frames: int = 2, chunks: int = 3, tokens: int = 4) -> dict:
    rng = np.random.default_rng(index)
    label = np.zeros(6, np.float32)
    label[index % 6] = 1
    return {
        "utterance_id": f"video_{index}",
        "dialogue_id": "video",
        "speaker": "video",
        "transcript": "Café “naïve” 你好",
        "token_ids": np.arange(tokens, dtype=np.int32) + 2,
        "faces": rng.integers(0, 256, (frames, 48, 48, 3), dtype=np.uint8),
        "face_found": np.arange(frames) % 2 == 0,
        "frame_ms": np.arange(frames, dtype=np.float32) * 500,
        "mel": rng.random((chunks, 128, 32), dtype=np.float32),
        "label": label,
    }


def make_feature_example(index: int, words: int = 2, rows: int = 3, frames: int = 4) -> dict:
    """An utterance as of CMU-MOSEI's own features, whose audio has 74 columns."""
    rng = np.random.default_rng(index)
    media = make_example(index)
    return {name: media[name] for name in ("utterance_id", "dialogue_id", "speaker", "transcript", "label")} | {
        "text": rng.random((words, 300), dtype=np.float32),
        "audio": rng.random((rows, 74), dtype=np.float32),
        "video": rng.random((frames, 35), dtype=np.float32),
    }


def test_what_is_written_is_read_back_in_order_over_several_shards(tmp_path: Path) -> None:
    train = [make_example(i, frames=i, chunks=2 * i, tokens=i + 2) for i in range(5)]
    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": train, "test": [make_example(7)]},
        metadata=METADATA,
        examples_per_shard=2,
    )

    # Any: tfds wraps as_data_source in a decorator that hides its signature from type checkers.
    builder: Any = tfds.builder_from_directory(tmp_path / "records")
    source = builder.as_data_source(split="train")

    assert builder.info.splits["train"].shard_lengths == [2, 2, 1]
    assert len(builder.as_data_source(split="test")) == 1
    for stored, given in zip(source, train, strict=True):
        for name, value in given.items():
            if isinstance(value, str):
                assert stored[name].decode() == value
            else:
                np.testing.assert_array_equal(stored[name], value, strict=True)


def test_metadata_counts_frames_chunks_tokens_and_positives(tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": [make_example(0, 1, 2, 3), make_example(6, 0, 5, 2), make_example(1, 4, 0, 9)]},
        metadata=METADATA,
    )

    metadata = tfds.builder_from_directory(tmp_path / "records").info.metadata

    assert metadata == {
        "format_version": 2,
        "kind": "media",
        **METADATA,
        "splits": {
            "train": {
                "utterances": 3,
                "utterance_ids": ["video_0", "video_6", "video_1"],
                "positives": [2, 1, 0, 0, 0, 0],
                "frames": [1, 0, 4],
                "chunks": [2, 5, 0],
                "tokens": [3, 2, 9],
            }
        },
    }


def test_features_of_any_width_are_written_and_read_back(tmp_path: Path) -> None:
    examples = [make_feature_example(0, 1, 2, 3), make_feature_example(1, 0, 0, 0), make_feature_example(7, 5, 0, 1)]
    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": examples},
        metadata={"dataset": "made"},
        schema=feature_schema((300, 74, 35)),
    )

    builder: Any = tfds.builder_from_directory(tmp_path / "records")

    assert builder.info.metadata == {
        "format_version": 2,
        "kind": "features",
        "feature_sizes": [300, 74, 35],
        "dataset": "made",
        "splits": {
            "train": {
                "utterances": 3,
                "utterance_ids": ["video_0", "video_1", "video_7"],
                "positives": [1, 2, 0, 0, 0, 0],
                "frames": [3, 0, 1],
                "chunks": [2, 0, 0],
                "tokens": [1, 0, 5],
            }
        },
    }
    for stored, given in zip(builder.as_data_source(split="train"), examples, strict=True):
        assert sorted(stored) == sorted(given)
        assert stored["transcript"].decode() == given["transcript"]
        for name in ("text", "audio", "video", "label"):
            np.testing.assert_array_equal(stored[name], given[name], strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros((1, 144), np.float32)}, r"video_0: expected audio .*\[None, 74\].*\[1, 144\]"),
        ({"text": np.full((1, 300), np.nan, np.float32)}, "video_0: expected finite numbers in text"),
        ({"video": np.full((1, 35), -np.inf, np.float32)}, "video_0: expected finite numbers in video"),
        ({"mel": np.zeros((1, 128, 32), np.float32)}, r"unknown \['mel'\]"),
    ],
)
def test_features_that_do_not_fit_are_named(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(
            tmp_path / "records",
            name="made",
            splits={"train": [{**make_feature_example(0), **change}]},
            metadata={},
            schema=feature_schema((300, 74, 35)),
        )


@pytest.mark.parametrize("sizes", [(300, 74), (300, 0, 35)])
def test_feature_widths_must_be_three(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Expected the widths of text, audio and video features"):
        feature_schema(sizes)


def test_every_feature_is_one_bytes_value_even_when_empty(tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": [make_example(0, frames=0, chunks=0)]},
        metadata=METADATA,
    )

    builder = tfds.builder_from_directory(tmp_path / "records")
    (path,) = builder.info.splits["train"].filepaths
    (raw,) = _raw_records(str(path))
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in MEDIA.features}
    parsed = tf.io.parse_single_example(raw, spec)

    assert parsed["faces"].numpy() == b""
    assert parsed["mel"].numpy() == b""
    np.testing.assert_array_equal(tf.io.decode_raw(parsed["token_ids"], tf.int32), [2, 3, 4, 5])
    np.testing.assert_array_equal(tf.io.decode_raw(parsed["label"], tf.float32), [1, 0, 0, 0, 0, 0])


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.records.test_records import *;"
        "write_dataset(sys.argv[1], name='made', metadata=METADATA,"
        " splits={'train': map(make_example, range(4))})"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "one")], check=True)
    examples = [make_example(i) for i in range(4)]
    write_dataset(tmp_path / "two", name="made", splits={"train": examples}, metadata=METADATA)

    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    same, different, broken = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False)

    assert names == [
        "dataset_info.json",
        "features.json",
        "made-train.array_record-00000",
        "metadata.json",
    ]
    assert (same, different, broken) == (names, [], [])


def test_an_empty_split_is_counted_but_not_listed(tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": [make_example(0)], "test": []},
        metadata=METADATA,
    )

    info = tfds.builder_from_directory(tmp_path / "records").info

    assert list(info.splits) == ["train"]
    assert dict(info.metadata or {})["splits"]["test"]["utterances"] == 0


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def examples():
        yield make_example(0)
        raise RuntimeError("decoder died")

    with pytest.raises(RuntimeError, match="decoder died"):
        write_dataset(tmp_path / "records", name="made", splits={"train": examples()}, metadata=METADATA)

    assert list(tmp_path.iterdir()) == []


def test_an_occupied_directory_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OutputExistsError, match=r"absent or empty, found 1 entries \(notes.txt\)"):
        write_dataset(tmp_path, name="made", splits={"train": [make_example(0)]}, metadata=METADATA)

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_extra_files_are_part_of_the_finished_directory(tmp_path: Path) -> None:
    def add_report(directory: Path) -> None:
        (directory / "report.json").write_text("{}")

    write_dataset(
        tmp_path / "records",
        name="made",
        splits={"train": [make_example(0)]},
        metadata=METADATA,
        add_files=add_report,
    )

    assert (tmp_path / "records" / "report.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mel": np.zeros((1, 32, 128), np.float32)}, r"video_0: expected mel .*\[1, 32, 128\]"),
        ({"faces": np.zeros((2, 48, 48, 3), np.float32)}, "video_0: expected faces .*float32"),
        ({"face_found": np.zeros(1, np.bool_)}, "video_0: expected arrays of equal length"),
        ({"mel": np.full((1, 128, 32), np.inf, np.float32)}, "video_0: expected finite numbers in mel"),
        ({"label": np.full(6, 0.5, np.float32)}, "video_0: expected labels 0 and 1"),
        ({"extra": 1}, r"unknown \['extra'\]"),
    ],
)
def test_an_example_that_does_not_fit_is_named(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(
            tmp_path / "records",
            name="made",
            splits={"train": [{**make_example(0), **change}]},
            metadata=METADATA,
        )


def test_an_utterance_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="video_0 is given twice"):
        write_dataset(
            tmp_path / "records",
            name="made",
            splits={"train": [make_example(0)], "valid": [make_example(0)]},
            metadata=METADATA,
        )


def test_no_examples_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none in the splits train"):
        write_dataset(tmp_path / "records", name="made", splits={"train": []}, metadata=METADATA)


def _raw_records(path: str) -> list[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(path).read_all()

"""Tests preparation of hand-crafted features from a generated release."""

import filecmp
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_tools.embedded import prepare_embedded_corpus
from data_tools.generate import generate
from data_tools.prepare import PrepareError, Settings, prepare
from mme2e_jax.media.features.audio import audio_features
from mme2e_jax.media.features.text import text_features
from mme2e_jax.media.sound import read_wav
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.closeness import assert_close

UTTERANCES = 8  # in three videos, of which one lacks its sound


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("raw") / "mosei", UTTERANCES, seed=0, workers=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same release, generated and prepared in one call, with one process per core."""
    out = tmp_path_factory.mktemp("prepared") / "records"
    prepare_embedded_corpus(out, utterances=UTTERANCES, seed=0, kind="features")
    return out


def read_truth(release: Path) -> dict[str, Any]:
    return json.loads((release / "truth.json").read_text())


def read_examples(directory: Path) -> dict[str, dict[str, Any]]:
    builder: Any = tfds.builder_from_directory(directory)
    return {
        example["utterance_id"].decode(): {**example, "split": split}
        for split in builder.info.splits
        for example in builder.as_data_source(split=split)
    }


def test_examples_hold_the_features_of_their_clips(release: Path, prepared: Path) -> None:
    examples = read_examples(prepared)
    truth = read_truth(release)
    no_face = {name.replace("___", "_") for name in truth["awkward"]["no_face"]}

    assert len(examples) == len(truth["clips"]) == UTTERANCES
    for clip in truth["clips"]:
        name = f"{clip['video']}_{clip['index']}"
        example = examples[name]
        assert example["transcript"].decode() == clip["transcript"]
        assert example["dialogue_id"].decode() == example["speaker"].decode() == clip["video"]
        assert example["label"].sum() == len(clip["labels"])
        np.testing.assert_array_equal(example["text"], text_features(clip["transcript"]))
        frames = int(np.ceil((clip["end_s"] - clip["start_s"]) / 0.5 - 1e-6))
        assert example["video"].shape == (frames, 35)
        assert (example["video"][:, -1] == (name not in no_face)).all()
        if clip["video"] in truth["awkward"]["wav_missing"]:
            assert example["audio"].shape == (0, 144)
            continue
        wave = read_wav(release / "Audio/WAV_16000" / f"{clip['video']}.wav")
        expected = audio_features(wave.cut(clip["start_s"], clip["end_s"]), 16_000)
        # Linear algebra has one thread in the workers. Samples moved by 1e-7 change features by 2e-6 of the scale.
        assert_close(example["audio"], expected)


def test_metadata_says_what_the_reader_must_know(prepared: Path) -> None:
    examples = read_examples(prepared)
    metadata: Any = dict(tfds.builder_from_directory(prepared).info.metadata or {})

    about = metadata.pop("features")
    splits = metadata.pop("splits")

    assert metadata == {
        "format_version": 2,
        "kind": "features",
        "feature_sizes": [300, 144, 35],
        "dataset": "mini",
        "label_names": ["anger", "disgust", "fear", "happy", "sad", "surprise"],
    }
    assert (about["frame_interval_ms"], about["sample_rate"]) == (500, 16_000)
    assert about["libraries"].keys() == {"librosa", "cv2", "sklearn"}
    assert about["audio"]["columns"]["descriptors"] == [34, 142]
    for split in ("train", "valid", "test"):
        stored = [example for example in examples.values() if example["split"] == split]
        assert splits[split] == {
            "utterances": len(stored),
            "utterance_ids": [example["utterance_id"].decode() for example in stored],
            "positives": sum((example["label"] for example in stored), np.zeros(6)).tolist(),
            "frames": [len(example["video"]) for example in stored],
            "chunks": [len(example["audio"]) for example in stored],
            "tokens": [len(example["text"]) for example in stored],
        }


def test_the_report_names_what_is_missing(release: Path, prepared: Path) -> None:
    report = json.loads((prepared / "report.json").read_text())

    no_wav = {entry["id"].rsplit("_", 1)[0] for entry in report["reasons"]["no_wav"]["utterances"]}

    assert report["settings"]["kind"] == "features"
    assert report["settings"]["tokenizer"] is None
    assert report["utterances"]["kept"] == UTTERANCES
    assert sorted(no_wav) == sorted(read_truth(release)["awkward"]["wav_missing"])


def test_another_number_of_processes_writes_the_same_bytes(release: Path, prepared: Path, tmp_path: Path) -> None:
    processes = 1 if (os.cpu_count() or 1) > 1 else 2
    console = PlainConsole(file=io.StringIO(), width=120)
    prepare(release, tmp_path / "again", Settings(kind="features"), processes=processes, console=console)

    names = sorted(path.name for path in prepared.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert [name for name in names if "array_record" not in name] == [
        "dataset_info.json",
        "features.json",
        "metadata.json",
        "report.json",
    ]
    assert filecmp.cmpfiles(prepared, tmp_path / "again", names, shallow=False)[1:] == ([], [])


def test_features_of_mosei_need_no_tokenizer() -> None:
    assert Settings(dataset="mosei", kind="features").tokenizer is None


def test_an_unknown_kind_is_refused_before_anything_is_generated(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="kind 'faces': expected one of media, features"):
        prepare_embedded_corpus(tmp_path / "records", utterances=UTTERANCES, seed=0, kind="faces")
    assert list(tmp_path.iterdir()) == []

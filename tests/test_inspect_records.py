"""Tests the inspection of records with known problems."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.inspect_records import print_inspection, whole_bins, write_inspection
from data_tools.records.inspection import inspect_records
from data_tools.records.records import write_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.synthetic import METADATA, make_example, make_feature_records


def example(split: str, index: int, **changes: Any) -> dict[str, Any]:
    """An utterance of a dialogue and a speaker of its own, with a face, sound and words."""
    names = {"dialogue_id": f"{split}{index}", "speaker": f"{split}{index}"}
    media = {
        "faces": np.full((1, 48, 48, 3), 40 * index, np.uint8),
        "face_found": np.ones(1, bool),
        "frame_ms": np.zeros(1, np.float32),
        "mel": np.ones((2, 128, 32), np.float32),
    }
    return {**make_example(split, index), **names, **media, **changes}


def write(directory: Path, **splits: list[dict[str, Any]]) -> Path:
    write_dataset(directory, name="mini", splits=splits, metadata=METADATA)
    return directory


def test_counts_and_balance_are_those_of_the_records(tmp_path: Path) -> None:
    # The label of example i is i, so that train has label 0 twice.
    train = [example("train", 0), example("train", 1), example("train", 6, dialogue_id="train0")]
    found = inspect_records(write(tmp_path / "r", train=train, test=[example("test", 2)]))

    assert found.splits["train"]["utterances"] == 3
    assert (found.splits["train"]["dialogues"], found.splits["train"]["speakers"]) == (2, 3)
    assert list(found.splits["train"]["positives"].values()) == [2, 1, 0, 0, 0, 0]
    assert list(found.splits["test"]["positives"].values()) == [0, 0, 1, 0, 0, 0]
    assert found.lengths["train"]["chunks"] == [2, 2, 2]
    assert found.to_json()["lengths"]["test"]["frames"]["median"] == 1
    assert found.problems == {}


def test_leaks_between_splits_are_found(tmp_path: Path) -> None:
    train = [example("train", 0, dialogue_id="d", speaker="ann"), example("train", 1, speaker="bob")]
    test = [example("test", 0, dialogue_id="d", speaker="eve"), example("test", 1, speaker="bob")]

    found = inspect_records(write(tmp_path / "r", train=train, test=test))

    assert found.problems == {"shared_dialogue": ["d"], "shared_speaker": ["bob"]}


def test_what_lacks_in_an_utterance_is_found(tmp_path: Path) -> None:
    nothing = {"faces": np.zeros((0, 48, 48, 3), np.uint8), "face_found": np.zeros(0, bool)}
    train = [
        example("train", 0),
        example("train", 1, mel=np.zeros((2, 128, 32), np.float32)),
        example("train", 2, mel=np.zeros((0, 128, 32), np.float32)),
        example("train", 3, face_found=np.zeros(1, bool)),
        example("train", 4, **nothing, frame_ms=np.zeros(0, np.float32)),
        example("train", 5, transcript=" "),
    ]

    found = inspect_records(write(tmp_path / "r", train=train))

    assert found.problems == {
        "no_sound": ["train_2"],
        "silent": ["train_1"],
        "no_frames": ["train_4"],
        "no_face": ["train_3"],
        "no_words": ["train_5"],
    }


def test_samples_are_random_and_the_same_from_the_same_seed(tmp_path: Path) -> None:
    records = write(tmp_path / "r", train=[example("train", i % 6, utterance_id=f"u{i}") for i in range(40)])

    found = [{s.id for s in inspect_records(records, samples=5, seed=seed).samples} for seed in (0, 0, 1)]

    assert len(found[0]) == 5
    assert found[0] == found[1] != found[2]
    # Not only the first ones are looked at.
    assert any(int(name[1:]) >= 20 for name in found[0] | found[2])
    sample = inspect_records(records, samples=1).samples[0]
    index = int(sample.id[1:]) % 6
    assert sample.labels == (METADATA["label_names"][index],)
    assert (sample.face == 40 * index).all()


def test_tables_and_pictures_are_written(tmp_path: Path) -> None:
    records = write(tmp_path / "r", train=[example("train", i, speaker="ann") for i in range(6)], test=[])
    found = inspect_records(records)
    text = io.StringIO()

    print_inspection(found, PlainConsole(file=text, width=160))
    files = write_inspection(found, tmp_path / "out")

    assert [path.name for path in files] == ["inspection.json", "lengths.png", "labels.png", "faces.png", "mel.png"]
    assert json.loads(files[0].read_text())["splits"]["train"]["utterances"] == 6
    for path in files[1:]:
        with Image.open(path) as picture:
            assert min(picture.size) > 100
            assert np.asarray(picture).std() > 1
    assert "1 (17%)" in text.getvalue()
    assert "No leaks between splits" in text.getvalue()


def test_loud_sound_is_dark_as_on_the_pages(tmp_path: Path) -> None:
    mel = np.ones((2, 128, 32), np.float32)
    mel[1] = 1e-7

    write_inspection(inspect_records(write(tmp_path / "r", train=[example("train", 0, mel=mel)])), tmp_path / "out")

    with Image.open(tmp_path / "out" / "mel.png") as picture:
        middle = np.asarray(picture.convert("L"))[picture.height // 2]
    # 70 dB of 80 below: 0.875 of 255.
    assert middle[int(0.35 * len(middle))] == 0
    assert middle[int(0.75 * len(middle))] == pytest.approx(223, abs=2)


def test_problems_are_counted_in_the_singular_and_the_plural(tmp_path: Path) -> None:
    train = [example("train", 0, speaker="ann"), example("train", 1, transcript=""), example("train", 2, transcript="")]
    text = io.StringIO()

    found = inspect_records(write(tmp_path / "r", train=train, test=[example("test", 0, speaker="ann")]))
    print_inspection(found, PlainConsole(file=text, width=160))

    assert "1 speaker with utterances in more than one split" in text.getvalue()
    assert "2 utterances with an empty transcript: train_1, train_2" in text.getvalue()


def test_features_have_no_faces_to_show(tmp_path: Path) -> None:
    records = make_feature_records(tmp_path / "r")

    found = inspect_records(records)

    assert (found.kind, found.samples) == ("features", [])
    assert "no_sound" in found.problems
    assert [path.name for path in write_inspection(found, tmp_path / "out")] == [
        "inspection.json",
        "lengths.png",
        "labels.png",
    ]


def test_another_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found .*absent, which is no directory\. Make them with"):
        inspect_records(tmp_path / "absent")
    (tmp_path / "Labels").mkdir()
    with pytest.raises(UserError, match="which holds Labels"):
        inspect_records(tmp_path)


def test_histograms_have_bins_around_whole_numbers() -> None:
    assert whole_bins([[0, 2], [3]]).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert whole_bins([[7]]).tolist() == [6.5, 7.5]
    # 91 lengths in bins of 4.
    bins = whole_bins([[10, 100]])
    assert (bins[0], bins[1] - bins[0], len(bins) - 1) == (9.5, 4.0, 23)
    assert bins[-1] > 100


def test_a_sample_says_whether_its_crop_is_a_face(tmp_path: Path) -> None:
    records = write(tmp_path / "r", train=[example("train", 0), example("train", 1, face_found=np.zeros(1, bool))])
    found = inspect_records(records).samples
    assert {sample.id: sample.face_found for sample in found} == {"train_0": True, "train_1": False}

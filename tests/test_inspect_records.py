"""Tests the inspection of records with known problems."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.inspect_records import print_inspection, write_inspection
from data_tools.records.inspection import inspect_records
from data_tools.records.inspection_page import inspection_page
from data_tools.records.records import write_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.browser import needs_browser, opened
from tests.helpers.pages import ParsedPage
from tests.helpers.synthetic import METADATA, make_example, make_feature_records


def example(split: str, index: int, **changes: Any) -> dict[str, Any]:
    """An utterance of a dialogue and a speaker of its own, with a face, sound and words."""
    names = {"dialogue_id": f"{split}{index}", "speaker": f"{split}{index}"}
    media = {
        "faces": np.full((1, 48, 48, 3), 40 * index, np.uint8),
        "face_found": np.ones(1, bool),
        "frame_ms": np.zeros(1, np.float32),
        # A recording that no other utterance has.
        "mel": np.full((2, 128, 32), index + 1 + len(split) / 10, np.float32),
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
    assert (found.splits["train"]["no_label"], found.splits["train"]["several_labels"]) == (0, 0)
    assert found.values["train"]["chunks"] == [2, 2, 2]
    assert found.values["train"]["seconds"] == [0.8, 0.8, 0.8]
    assert found.to_json()["values"]["test"]["frames"]["median"] == 1
    assert found.problems == {}


def test_leaks_between_splits_are_found(tmp_path: Path) -> None:
    train = [example("train", 0, dialogue_id="d", speaker="ann"), example("train", 1, speaker="bob")]
    test = [example("test", 0, dialogue_id="d", speaker="eve"), example("test", 1, speaker="bob")]

    found = inspect_records(write(tmp_path / "r", train=train, test=test))

    assert found.problems == {"shared_dialogue": ["d"], "shared_speaker": ["bob"]}


def test_equal_recordings_and_transcripts_in_two_splits_are_found(tmp_path: Path) -> None:
    media = {name: example("train", 3)[name] for name in ("mel", "faces", "face_found", "frame_ms")}
    words = "We  said it all before"
    train = [example("train", 3), example("train", 4, transcript=words), example("train", 5, transcript="Yes I do")]
    test = [
        example("test", 0, **media),
        example("test", 1, transcript="we said it ALL before"),
        example("test", 2, transcript="Yes I do"),
    ]

    found = inspect_records(write(tmp_path / "r", train=train, test=test))

    # "Yes I do" is short enough to be said twice.
    assert found.problems == {
        "shared_media": ["train_3 = test_0"],
        "shared_transcript": ['"we said it all before"'],
    }


def test_faces_and_silence_are_counted_by_frame_and_chunk(tmp_path: Path) -> None:
    faces = {
        "faces": np.zeros((4, 48, 48, 3), np.uint8),
        "face_found": np.array([True, True, True, False]),
        "frame_ms": np.arange(4, dtype=np.float32) * 500,
    }
    mel = np.full((2, 128, 32), 10, np.float32)
    mel[1] = 0
    nothing = np.zeros((0, 128, 32), np.float32)
    train = [example("train", 0, mel=mel), example("train", 1, **faces, mel=nothing)]

    found = inspect_records(write(tmp_path / "r", train=train))

    counts, values = found.splits["train"], found.values["train"]
    assert (counts["frames"], counts["frames_with_face"]) == (5, 4)
    assert (counts["chunks"], counts["silent_chunks"]) == (2, 1)
    assert values["face_share"] == [1.0, 0.75]
    assert values["silent_share"] == [0.5]
    # A mean power of 5, and the time of the last frame where there is no sound.
    assert values["decibels"] == pytest.approx([6.99], abs=0.01)
    assert values["seconds"] == [0.8, 1.5]


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


def test_tables_and_a_page_are_written(tmp_path: Path) -> None:
    records = write(tmp_path / "r", train=[example("train", i, speaker="ann") for i in range(6)], test=[])
    found = inspect_records(records)
    text = io.StringIO()

    print_inspection(found, PlainConsole(file=text, width=160))
    page, counts = write_inspection(found, tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [page.name, counts.name]
    assert json.loads(counts.read_text())["splits"]["train"]["utterances"] == 6
    assert "1 (17%)" in page.read_text()
    assert "1 (17%)" in text.getvalue()
    assert "No leaks between splits" in text.getvalue()


def test_the_page_needs_no_other_file_and_escapes_all_text(tmp_path: Path) -> None:
    changes = {"transcript": "<script>alert(1)</script> a b c", "dialogue_id": "<i>"}
    splits = {"train": [example("train", 0, **changes)], "test": [example("test", 1, **changes)]}

    text = inspection_page(inspect_records(write(tmp_path / "r", **splits)))
    seen = ParsedPage(text, ("img",))

    assert not seen.open
    links = [str(values[name]) for _, values in seen.tags for name in ("href", "src") if name in values]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "http" not in text
    for name in ("<script>alert", "<i>"):
        assert name not in text
        assert name.replace("<", "&lt;").replace(">", "&gt;") in text
    # Two faces in the sheet and two examples of one face and one sound.
    assert [tag for tag, _ in seen.tags].count("img") == 2
    assert [tag for tag, _ in seen.tags].count("image") == 4


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits(width: int, tmp_path: Path) -> None:
    examples = [example("train", i, utterance_id=f"u{i}", transcript="many words " * 30) for i in range(6)]
    text = inspection_page(inspect_records(write(tmp_path / "r", train=examples)))

    found = opened(text.replace("<details>", "<details open>"), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
    assert all(found["loaded"])


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
    text = inspection_page(found)
    assert "rows of audio per utterance" in text
    assert "<h2>Faces" not in text


def test_another_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found .*absent, which is no directory\. Make them with"):
        inspect_records(tmp_path / "absent")
    (tmp_path / "Labels").mkdir()
    with pytest.raises(UserError, match="which holds Labels"):
        inspect_records(tmp_path)


def test_a_sample_says_whether_its_crop_is_a_face(tmp_path: Path) -> None:
    records = write(tmp_path / "r", train=[example("train", 0), example("train", 1, face_found=np.zeros(1, bool))])
    found = inspect_records(records).samples
    assert {sample.id: sample.face_found for sample in found} == {"train_0": True, "train_1": False}

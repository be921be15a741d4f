"""Tests the reader of processed folders, and their records."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_tools.prepare import PrepareError, Settings, prepare
from data_tools.releases.processed import read_meta, read_release
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.utterance import Finding, ImageSequence, Media
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.media import tone, write_wav

LABEL = [0, 1, 0, 0, 0, 1]


def write_meta(folder: Path, meta: Any, protocol: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta, protocol))
    return folder / "meta.pkl"


def write_utterance(folder: Path, count: int, seconds: float, prefix: str = "image_", wav: str = "audio.wav") -> None:
    write_wav(folder / wav, tone(seconds))
    for i in range(count):
        cv2.imwrite(str(folder / f"{prefix}{i}.jpg"), np.full((40, 40, 3), 100, np.uint8))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_pickle_of_plain_values_is_read(protocol: int, tmp_path: Path) -> None:
    meta = {"v_0": {"text": "héllo", "label": LABEL, "fps": 29.97}}
    assert read_meta(write_meta(tmp_path, meta, protocol)) == meta


@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_of_numpy_are_numbers(protocol: int, tmp_path: Path) -> None:
    meta = {"v_0": {"label": [np.int64(3), np.float32(0.5), np.int8(-1)], "fps": np.float64(29.97)}}

    found = read_meta(write_meta(tmp_path, meta, protocol))

    assert found == {"v_0": {"label": [3, 0.5, -1], "fps": 29.97}}
    assert type(found["v_0"]["fps"]) is float


class Runs:
    """Would make a directory if it were unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_that_asks_for_anything_else_is_refused_and_not_run(tmp_path: Path) -> None:
    path = write_meta(tmp_path, {"v_0": Runs(str(tmp_path / "proof"))})

    with pytest.raises(ReleaseError, match=r"asks for posix\.mkdir, which no meta\.pkl needs\. Nothing of it was run"):
        read_meta(path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"no pickle", pickle.dumps({"a": "b" * 99})[:-40]])
def test_a_damaged_pickle_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "meta.pkl").write_bytes(content)

    with pytest.raises(ReleaseError, match=r"meta\.pkl is damaged or no pickle: .*Copy it again"):
        read_meta(tmp_path / "meta.pkl")


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="to hold a dictionary by utterance, found list"):
        read_meta(write_meta(tmp_path, [1, 2]))


def test_mosei_is_read_and_its_rate_worked_out(tmp_path: Path) -> None:
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    meta = {"v_0": {"text": "one\n", "label": LABEL}, "v-1_12": {"text": "two", "label": [0] * 6}}
    write_meta(root, meta)
    # 5 pictures in 2.4 s and 4 in 2.05 s: 9 in 4.45 s are two a second.
    write_utterance(root / "v_0", 5, 2.4)
    write_utterance(root / "v-1_12", 4, 2.05)

    release = read_release(tmp_path, "mosei")

    read = {u.id: (u.video, u.transcript, u.label, u.view, u.media_key) for u in release.utterances}
    assert read == {
        "v_0": ("v", "one", tuple(LABEL), "centre", "v_0"),
        "v-1_12": ("v-1", "two", (0,) * 6, "centre", "v-1_12"),
    }
    assert release.media["v_0"] == Media(ImageSequence(root / "v_0", "image_", 2.0), root / "v_0" / "audio.wav")
    assert release.splits is None
    assert release.findings == []
    assert read_release(root, "mosei", fps=30.0).media["v_0"].video == ImageSequence(root / "v_0", "image_", 30.0)


def test_iemocap_is_read_with_the_speakers_half(tmp_path: Path) -> None:
    root = tmp_path / "IEMOCAP_RAW_PROCESSED"
    known = {"start_time": 1.0, "end_time": 2.0, "text": "text", "sr": 16000, "fps": 29.97}
    write_meta(
        root,
        {
            "Ses01F_impro01_F000": known | {"label": "neu"},
            "Ses01F_impro01_M000": known | {"label": "fru"},
            "Ses01F_impro01_M001": known | {"label": "xxx"},
            "Ses01F_impro01_M002": known | {"label": np.array([0, 1])},
        },
    )
    for turn, side in (("Ses01F_impro01_F000", "L"), ("Ses01F_impro01_M000", "R")):
        write_utterance(root / "Ses01F_impro01" / turn, 3, 0.1, f"image_{side}_", f"audio_{side}.wav")

    release = read_release(tmp_path, "iemocap")

    assert [(u.id, u.video, u.speaker, u.view, u.label.index(1)) for u in release.utterances] == [
        ("Ses01F_impro01_F000", "Ses01F_impro01", "Ses01_F", "whole", 4),
        ("Ses01F_impro01_M000", "Ses01F_impro01", "Ses01_M", "whole", 2),
    ]
    folder = root / "Ses01F_impro01" / "Ses01F_impro01_M000"
    assert release.media[folder.name] == Media(ImageSequence(folder, "image_R_", 29.97), folder / "audio_R.wav")
    assert release.findings[0] == Finding("Ses01F_impro01_M001", "other_emotion", "xxx")
    (odd,) = release.findings[1:]
    assert (odd.id, odd.reason) == ("Ses01F_impro01_M002", "bad_meta")
    assert "expected the name of an emotion, found" in odd.detail


@pytest.mark.parametrize(
    ("key", "known", "detail"),
    [
        ("../v_0", {"text": "a", "label": LABEL}, "expected an identifier"),
        ("/v_0", {"text": "a", "label": LABEL}, "expected an identifier"),
        (3, {"text": "a", "label": LABEL}, "expected an identifier"),
        ("v_0", ["a", LABEL], "expected an identifier and a dictionary"),
        ("v_0", {"text": None, "label": LABEL}, "expected ID_clip with a text"),
        ("v", {"text": "a", "label": LABEL}, "expected ID_clip with a text"),
        ("v_0", {"text": "a", "label": [1]}, "expected six labels 0 or 1, found [1]"),
        ("v_0", {"text": "a", "label": [2] * 6}, "expected six labels 0 or 1"),
        ("v_0", {"text": "a"}, "expected six labels 0 or 1, found None"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(key: Any, known: Any, detail: str, tmp_path: Path) -> None:
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    write_meta(root, {"ok_0": {"text": "a", "label": LABEL}, key: known})
    write_utterance(root / "ok_0", 2, 1.0)

    release = read_release(tmp_path, "mosei")

    assert [utterance.id for utterance in release.utterances] == ["ok_0"]
    assert [finding.reason for finding in release.findings] == ["bad_meta"]
    assert detail in release.findings[0].detail


def test_an_utterance_without_a_folder_has_no_media(tmp_path: Path) -> None:
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    write_meta(root, {name: {"text": "a", "label": LABEL} for name in ("here_0", "gone_0")})
    write_utterance(root / "here_0", 2, 1.0)

    assert read_release(tmp_path, "mosei").media["gone_0"] == Media(None, None)


def test_the_authors_splits_are_used_and_checked(tmp_path: Path) -> None:
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    write_meta(root, {"a_0": {"text": "a", "label": LABEL}})
    write_utterance(root / "a_0", 2, 1.0)
    (tmp_path / "MOSEI_SPLIT").mkdir()
    for part, text in (("train", "a_0\n"), ("valid", ""), ("test", "b_0\n")):
        (tmp_path / "MOSEI_SPLIT" / f"{part}_split.txt").write_text(text)

    release = read_release(tmp_path, "mosei")

    assert release.splits == {"a_0": "train", "b_0": "test"}
    assert release.findings == [Finding("b_0", "not_in_meta")]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"Expected MOSEI_RAW_PROCESSED/meta\.pkl .*found there: nothing"):
        read_release(tmp_path, "mosei")
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    write_meta(root, {"a_0": {"text": "a", "label": LABEL}})
    (root / "a_0").mkdir()
    with pytest.raises(ReleaseError, match="State the frame rate with --source_fps=2"):
        read_release(tmp_path, "mosei")
    assert read_release(tmp_path, "mosei", fps=2.0).media["a_0"].wav is None


def test_videos_take_no_rate() -> None:
    with pytest.raises(PrepareError, match=r"mosei has videos, .*expected no --source_fps, found 2"):
        Settings(dataset="mosei", source_fps=2.0)
    with pytest.raises(PrepareError, match="above 0, found 0"):
        Settings(dataset="processed_mosei", source_fps=0.0)


@pytest.mark.parametrize("name", ["mosei", pytest.param("iemocap", marks=pytest.mark.slow)])
def test_generated_folders_become_records(name: str, processed_corpus: Callable[[str], Path], tmp_path: Path) -> None:
    raw = processed_corpus(name)
    console = PlainConsole(file=io.StringIO(), width=120)

    report = prepare(
        raw, tmp_path / "out", Settings(dataset=f"processed_{name}", kind="features"), processes=1, console=console
    )

    meta = pickle.loads((raw / f"{name.upper()}_RAW_PROCESSED" / "meta.pkl").read_bytes())
    other = {f.id for f in report.findings if f.reason == "other_emotion"}
    assert set(report.kept) | other == set(meta)
    assert bool(other) == (name == "iemocap")
    assert report.settings["splits"] == "as given"
    leaks = [warning for warning in report.warnings if "more than one split" in warning]
    assert bool(leaks) == (name == "iemocap")
    builder: Any = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.metadata["dataset"] == name
    for split in builder.info.splits:
        listed = (raw / f"{name.upper()}_SPLIT" / f"{split}_split.txt").read_text().split()
        for example in builder.as_data_source(split=split):
            key = example["utterance_id"].decode()
            assert key in listed
            assert example["transcript"].decode() == meta[key]["text"]
            folder = next(path for path in raw.rglob(key))
            # One frame every 500 ms, of two pictures a second or fifteen of either side.
            pictures, fps = len(list(folder.glob("*.jpg"))), 2 if name == "mosei" else 30
            assert len(example["video"]) == np.ceil(pictures / fps * 2)
            assert len(example["audio"]) > 0

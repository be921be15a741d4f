"""The command that predicts on one or many files."""

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mme2e_jax.commands.predict import ClipArguments
from mme2e_jax.errors import UserError
from mme2e_jax.predict import predictor
from mme2e_jax.predict.clip_stream import ClipRequest
from mme2e_jax.predict.results import Prediction
from tests.helpers.runs import run
from tests.predict.test_results import prediction


def test_the_choice_of_a_face_is_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    clips: list[ClipArguments] = []
    monkeypatch.setattr("mme2e_jax.commands.predict.predict_clips", lambda workdir, clip, tokenizer: clips.append(clip))
    monkeypatch.setattr("mme2e_jax.commands.predict.predict_exported", lambda model, clip: clips.append(clip))

    run("--mode=predict", "--workdir=r", "--input=a.mp4", "--face_choice=central")
    run("--mode=run_exported", "--model=m", "--input=a.mp4", "--face_choice=largest")
    run("--mode=predict", "--workdir=r", "--input=a.mp4", "--output_dir=o")

    assert [(clip.face_choice, clip.output_dir) for clip in clips] == [
        ("central", None),
        ("largest", None),
        (None, "o"),
    ]
    with pytest.raises(UserError, match="face_choice"):
        run("--mode=predict", "--workdir=r", "--input=a.mp4", "--face_choice=nearest")


class Model:
    """A predictor that notes what it is asked; files that hold "bad" fail."""

    model: Any = type("Model", (), {"digest": "0"})
    asked: list[ClipRequest]

    @classmethod
    def from_workdir(cls, *_: object) -> "Model":
        return cls()

    def predict_each(self, requests: Iterable[ClipRequest], **options: Any) -> Iterator[Prediction | Exception]:
        for request in requests:
            type(self).asked.append(request)
            path = Path(request.path)
            options["progress"](1.0, 2.0)
            if path.read_text() == "bad":
                yield UserError("Expected a clip.") if path.suffix == ".mp4" else ZeroDivisionError("by zero")
            else:
                yield dataclasses.replace(prediction(), path=str(path.absolute()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four clips, two of one name; one is bad. The model and the reader of the command are stubs."""
    monkeypatch.setattr(predictor, "Predictor", Model)
    monkeypatch.setattr("mme2e_jax.predict.clip_reader.Extractor.start", lambda self: None)
    monkeypatch.setattr(Model, "asked", [], raising=False)
    folder = tmp_path / "clips"
    for name, content in {"a/clip.mp4": "1", "b/clip.mp4": "22", "=c.mp4": "bad", "d.wav": "3"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def asked() -> list[str]:
    """The names of the clips that were predicted since the last call."""
    names = [Path(request.path).name for request in Model.asked]
    Model.asked.clear()
    return names


def test_a_folder_is_predicted_once_and_what_changed_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("--mode=predict", f"--workdir={tmp_path}", f"--input={folder}")
    out = tmp_path / "predictions"

    run(*command)

    assert asked() == ["=c.mp4", "d.wav", "clip.mp4", "clip.mp4"]
    printed = capsys.readouterr().out
    assert "a/clip.mp4: happy throughout" in printed
    assert "=c.mp4: not predicted. Expected a clip." in printed
    assert "Predicted 3 of 4 files. 1 failed: see index.html." in printed
    stored = json.loads((out / "b" / "clip.mp4" / "predictions.json").read_text())
    assert stored["path"] == str(folder / "b" / "clip.mp4")
    table = (out / "predictions.csv").read_bytes()
    with (out / "predictions.csv").open(newline="") as file:
        assert list(dict.fromkeys(row["file"] for row in csv.DictReader(file))) == [
            *("'=c.mp4", "d.wav", "a/clip.mp4", "b/clip.mp4")
        ]

    run(*command)
    assert asked() == ["=c.mp4"]
    assert "Predicted 3 of 4 files, 3 of them before. 1 failed" in capsys.readouterr().out
    assert (out / "predictions.csv").read_bytes() == table

    (folder / "=c.mp4").write_text("good now")
    os.utime(folder / "d.wav", (1, 1))
    (folder / "a" / "clip.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\none\n")
    run(*command)
    assert asked() == ["=c.mp4", "d.wav", "clip.mp4"]
    stored = json.loads((out / "a" / "clip.mp4" / "predictions.json").read_text())
    assert stored["notes"][0] == "The transcript is that of clip.srt, next to the clip."

    run(*command, "--window=2")
    assert len(asked()) == 4


def test_files_of_other_folders_are_kept(folder: Path, tmp_path: Path) -> None:
    for name in "ab":
        run("--mode=predict", f"--workdir={tmp_path}", f"--input={folder / name}")
    assert len(asked()) == 2
    for name in "ab":
        run("--mode=predict", f"--workdir={tmp_path}", f"--input={folder / name}")
    assert asked() == []


def test_words_next_to_a_clip_are_its_transcript(folder: Path, tmp_path: Path) -> None:
    (folder / "d.txt").write_text("What I say.")
    (folder / "a" / "clip.vtt").write_text("WEBVTT\n")
    (folder / "b" / "clip.txt").write_bytes(b"\xff")

    run("--mode=predict", f"--workdir={tmp_path}", f"--input={folder}")

    requests = {Path(r.path).relative_to(folder).as_posix(): (r.transcript, r.transcript_file) for r in Model.asked}
    assert requests == {
        "=c.mp4": ("", None),
        "d.wav": ("What I say.", None),
        "a/clip.mp4": ("", str(folder / "a" / "clip.vtt")),
    }


class Recognizer:
    """A speech recognition model; its identity is that of the directory and the language."""

    def __init__(self, directory: str, language: str | None):
        self.identity = [directory, language]


def test_clips_without_words_are_predicted_again_with_another_recognition(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mme2e_jax.commands.predict.check_flags", lambda directory, language: None)
    monkeypatch.setattr("mme2e_jax.commands.predict.Transcriber", Recognizer)
    (folder / "=c.mp4").unlink()
    (folder / "d.txt").write_text("What I say.")
    (folder / "a" / "clip.txt").write_text(" ")
    command = ("--mode=predict", f"--workdir={tmp_path}", f"--input={folder}")

    run(*command)
    assert len(asked()) == 3
    for arguments, names in [
        (("--transcribe=m",), ["clip.mp4", "clip.mp4"]),
        (("--transcribe=m",), []),
        (("--transcribe=m", "--language=en"), ["clip.mp4", "clip.mp4"]),
        (("--transcribe=n", "--language=en"), ["clip.mp4", "clip.mp4"]),
        ((), ["clip.mp4", "clip.mp4"]),
    ]:
        run(*command, *arguments)
        assert asked() == names
    stored = json.loads((tmp_path / "predictions" / "a" / "clip.mp4" / "predictions.json").read_text())
    assert stored["notes"][0] == "The transcript file clip.txt, next to the clip, is empty."


def test_an_unexpected_error_is_a_row_too(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d.wav").write_text("bad")

    run("--mode=predict", f"--workdir={tmp_path}", f"--input={folder}")

    printed = capsys.readouterr()
    assert "d.wav: not predicted. by zero" in printed.out
    assert "ZeroDivisionError" in printed.err
    with (tmp_path / "predictions" / "predictions.csv").open(newline="") as file:
        assert [row["notes"] for row in csv.DictReader(file)][:2] == ["Expected a clip.", "by zero"]


def test_what_cannot_work_is_an_error(folder: Path, tmp_path: Path) -> None:
    command = ("--mode=predict", f"--workdir={tmp_path}")
    with pytest.raises(UserError, match=r"are for one clip, but .* names 4\. Put the transcript of each"):
        run(*command, f"--input={folder}", "--transcript=one")
    # As from a variable of the shell that is not set.
    with pytest.raises(UserError, match="are for one clip"):
        run(*command, f"--input={folder}", "--transcript_file=")
    with pytest.raises(UserError, match=r"None of 1 files in .* was predicted; see above"):
        run(*command, f"--input={folder / '*.mp4'}")

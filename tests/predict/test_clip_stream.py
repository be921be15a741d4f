"""Clips are read ahead in order, by several processes, and failures stay with their clip."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mme2e_jax.errors import UserError
from mme2e_jax.predict import clip_stream
from mme2e_jax.predict.clip_reader import Clip, ClipPart
from mme2e_jax.predict.clip_stream import ClipRequest, read_ahead
from mme2e_jax.predict.cues import Cue
from mme2e_jax.predict.transcribe import Speech

LENGTHS = {"a": 1.0, "b": 3.0, "c": 1.0, "d": 2.0}


class Reader:
    """A reader with a part for each second; it fails in the part before the last of clip b."""

    def __init__(self, processes: int):
        self.processes = processes
        self.busy: set[int] = set()
        self.lock = threading.Lock()

    def read_speech(self, clip: Clip, start: float, end: float, process: int) -> np.ndarray:
        if clip.path.name == "b":
            raise UserError("no sound")
        return np.array([start, end, process], np.float32)

    def read(self, clip: Clip, cues: Any, settings: Any, quiet: Any, process: int) -> Iterator[list[ClipPart]]:
        for cue in cues:
            with self.lock:
                assert process not in self.busy
                self.busy.add(process)
            if clip.path.name == "b" and cue.start == 1.0:
                self.busy.remove(process)
                raise UserError("broken")
            part = ClipPart(cue, {}, (clip.path.name,))
            self.busy.remove(process)
            yield [part]


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_clips_come_in_order_and_a_failure_ends_its_clip_only(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_clip(path: Path) -> Clip:
        if path.name not in LENGTHS:
            raise UserError(f"no {path.name}")
        return Clip(path, LENGTHS[path.name], "sound")

    monkeypatch.setattr(clip_stream, "open_clip", open_clip)
    requests = [ClipRequest(Path(name)) for name in ("a", "x", "b", "c", "d", "b")]
    found: list[object] = []
    reader: Any = Reader(processes)

    with read_ahead(reader, requests, 1.0, 1.0, {}, ()) as clips:
        for number, (opened, parts) in enumerate(clips):
            if isinstance(opened, Exception):
                found.append(str(opened))
                continue
            read = []
            try:
                for part in parts:
                    read.append((*part.notes, part.cue.start))
                    if number == 5:
                        break  # as if the model had failed
            except UserError as error:
                read.append(str(error))
            found.append(read)

    assert found == [
        [("a", 0.0)],
        "no x",
        [("b", 0.0), "broken"],
        [("c", 0.0)],
        [("d", 0.0), ("d", 1.0)],
        [("b", 0.0)],
    ]


def test_at_most_one_part_of_each_process_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_stream, "open_clip", lambda path: Clip(path, 1.0, "sound"))
    taken: list[int] = []

    def requests() -> Iterator[ClipRequest]:
        for number in range(20):
            taken.append(number)
            yield ClipRequest(Path(f"{number}"))

    reader: Any = Reader(2)
    with read_ahead(reader, requests(), 1.0, 1.0, {}, ()) as clips:
        for number, (_, parts) in enumerate(clips):
            assert len(list(parts)) == 1
            assert len(taken) <= number + 3


class Recognizer:
    """Finds one cue of the whole clip; clip c has no words."""

    def recognize(self, read: Any, seconds: float, stopped: Callable[[], bool]) -> Speech:
        assert not stopped()
        assert read(0.0, seconds).tolist() == [0.0, seconds, 0.0]
        return Speech([Cue(0.0, seconds, "heard")] if seconds == LENGTHS["d"] else [], "by a model")


def test_only_clips_without_words_are_recognised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clip_stream, "open_clip", lambda path: Clip(path, LENGTHS[path.name], "sound"))
    (tmp_path / "d.srt").write_text("1\n00:00:00,000 --> 00:00:01,500\nwritten\n")
    requests = [
        ClipRequest(Path("d")),
        ClipRequest(Path("d"), "given"),
        ClipRequest(Path("d"), transcript_file=tmp_path / "d.srt"),
        ClipRequest(Path("b")),
        ClipRequest(Path("c")),
    ]
    found = []
    reader: Any = Reader(1)
    recognizer: Any = Recognizer()

    with read_ahead(reader, requests, 1.0, 1.0, {}, (), recognizer) as clips:
        for opened, parts in clips:
            if isinstance(opened, Exception):
                found.append(str(opened))
                continue
            found.append((opened.note, opened.divided, [(part.cue.start, part.cue.text) for part in parts]))

    assert found == [
        ("by a model", 1, [(0.0, "heard")]),
        ("", 0, [(0.0, "given"), (1.0, "given")]),
        ("", 1, [(0.0, "written")]),
        "no sound",
        ("by a model", 0, [(0.0, "")]),
    ]

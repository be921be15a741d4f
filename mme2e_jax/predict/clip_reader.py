"""Reads clips part by part, as preparation reads those of `--dataset=clips`.

Axes: `t` frames, `s` mel chunks, `x` samples.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError

from mme2e_jax.errors import UserError
from mme2e_jax.media.findings import REASONS
from mme2e_jax.media.utterance import SOUND_SUFFIXES, Media, Utterance
from mme2e_jax.media.video import VideoError, open_media, picture_track, track_duration
from mme2e_jax.media.workers import CLIP, SPEECH, Extractor, Job
from mme2e_jax.predict.cues import Cue

# Seconds of a clip that are in memory at once; also the interval between reports of progress.
_PART_SECONDS = 300.0


@dataclass(frozen=True)
class Clip:
    """A file with pictures or sound."""

    path: Path  # path of the file
    seconds: float  # stated length, above 0
    tracks: str  # description of its tracks


@dataclass(frozen=True)
class ClipPart:
    """The media of one cue."""

    cue: Cue  # time and text; `end` is finite
    # By name: faces uint8 `[t, 48, 48, 3]`, face_found bool `[t]`, frame_ms float32 `[t]`, boxes float32 `[t, 4]`, see
    # `media.arrays.Footage`, and mel float32 `[s, 128, 32]`. Empty if there is nothing to read.
    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...]  # sentences about what is missing or replaced


def open_clip(path: str | Path) -> Clip:
    """Opens a file without decoding it.

    Raises `UserError` if it is not a video or sound file, or has no track of either kind.
    """
    path = Path(path)
    # Not Path.is_file: lists may hold names that no file can have.
    if not os.path.isfile(path):
        found = "a directory" if os.path.isdir(path) else "nothing"
        raise UserError(f"Expected a video or sound file, found {found} at {str(path)!r}.")
    if not path.stat().st_size:
        raise UserError(f"Expected a video or sound file, found an empty file at {path}.")
    try:
        with open_media(path) as container:
            tracks = {"pictures": picture_track(container), "sound": next(iter(container.streams.audio), None)}
            lengths = {name: track_duration(container, one) or 0.0 for name, one in tracks.items() if one}
    except VideoError as error:
        raise UserError(f"Expected the length of a recording in {path}, found {error}.") from error
    except (FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UserError(
            f"Expected a video or sound file that FFmpeg reads, found {path}: {reason}. If it plays "
            "elsewhere, convert it: ffmpeg -i FILE clip.mp4."
        ) from error
    if not lengths:
        raise UserError(f"Expected pictures or sound in {path}, found neither.")
    seconds = max(lengths.values())
    if not 0 < seconds < math.inf:
        raise UserError(f"Expected pictures or sound in {path}, found {' and '.join(lengths)} of length 0.")
    return Clip(path, seconds, " and ".join(lengths))


class ClipReader:
    """Reads clips in separate processes. Their start takes seconds: keep the reader, and close it at the end."""

    def __init__(self, processes: int = 1) -> None:
        """Starts the first process; the first clip of each other one, of `processes`, starts it."""
        self.processes = processes
        self._extractors = [Extractor() for _ in range(processes)]
        self._extractors[0].start()

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Waits for the first process, and runs its face detector once; else its first clip does both."""
        self._extractors[0].warm_up()

    def close(self) -> None:
        """Ends the processes; the next clip starts a new one."""
        for extractor in self._extractors:
            extractor.close()

    def read(
        self,
        clip: Clip,
        cues: Sequence[Cue],
        settings: Mapping[str, Any],
        quiet: Sequence[str] = (),
        process: int = 0,
    ) -> Iterator[list[ClipPart]]:
        """Yields the media of the cues, which are in the order of time, about five minutes of the clip at a time.

        `settings` are values of `media.extract.ExtractSettings` that the data of the model were prepared with.
        Findings with the reasons `quiet` become no notes. A process, given by its number, reads one clip at a time.
        """
        media = _media(clip)
        with tempfile.TemporaryDirectory(prefix="mme2e-clip-") as scratch:
            for part in _parts(cues, clip.seconds):
                utterances = [
                    Utterance(f"clip_{i}", "clip", cue.start, cue.end, cue.text, (), "clip", view="whole")
                    for i, cue in enumerate(part)
                ]
                options = {"sound_in_video": True, **settings}
                job = Job(utterances, media, options, Path(scratch) / "part.npz", kind=CLIP, in_parts=True)
                yield self._run(
                    self._extractors[process], job, part, clip.seconds, quiet if media.video else (*quiet, "no_video")
                )

    def read_speech(self, clip: Clip, start: float, end: float, process: int = 0) -> np.ndarray:
        """Reads the sound between two times in seconds for speech recognition, exactly what the model hears.

        Returns float32 `[x]`, one channel at `arrays.SPEECH_RATE`; empty if there is none or it cannot be read, which
        the notes of `read` tell.
        """
        with tempfile.TemporaryDirectory(prefix="mme2e-clip-") as scratch:
            utterances = [Utterance("clip_0", "clip", start, end, "", (), "clip")]
            options = {"sound_in_video": True}
            job = Job(utterances, _media(clip), options, Path(scratch) / "sound.npz", kind=SPEECH, in_parts=True)
            if not self._extractors[process].run(job).kept:
                return np.zeros(0, np.float32)
            with np.load(job.spool) as spool:
                return spool["clip_0/wave"]

    def _run(
        self, extractor: Extractor, job: Job, part: Sequence[Cue], seconds: float, quiet: Sequence[str]
    ) -> list[ClipPart]:
        result = extractor.run(job)
        notes: dict[str, list[str]] = {utterance.id: [] for utterance in job.utterances}
        for finding in result.findings:
            if finding.reason not in quiet:
                notes[finding.id].append(_note(finding.reason, finding.detail))
        arrays: dict[str, dict[str, np.ndarray]] = {name: {} for name in notes}
        if result.kept:
            with np.load(job.spool) as spool:
                for key in spool.files:
                    name, _, what = key.partition("/")
                    arrays[name][what] = spool[key]
        cues = [cue if cue.start >= seconds else replace(cue, end=min(cue.end, seconds)) for cue in part]
        return [ClipPart(cue, arrays[u.id], tuple(notes[u.id])) for cue, u in zip(cues, job.utterances, strict=True)]


def _media(clip: Clip) -> Media:
    # As preparation reads `--dataset=clips`, except that a wav file next to the video is ignored.
    path = clip.path.absolute()
    return Media(None, path) if clip.path.suffix.lower() in SOUND_SUFFIXES else Media(path, None)


def _parts(cues: Sequence[Cue], seconds: float) -> Iterator[list[Cue]]:
    part: list[Cue] = []
    for cue in cues:
        if part and min(cue.end, seconds) - part[0].start > _PART_SECONDS:
            yield part
            part = []
        part.append(cue)
    if part:
        yield part


def _note(reason: str, detail: str) -> str:
    if reason == "no_wav":
        why = detail.removeprefix("video's track: ")
        return f"No sound: {why}." if why else "No sound."
    meaning = REASONS[reason][1].removesuffix(".").removesuffix(" (features: zeros)")
    return f"{meaning}: {detail}." if detail else f"{meaning}."

"""Reads sound from a wav file or a video's sound track.

Axes: `x` samples.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.error import FFmpegError

from mme2e_jax.media.video import (
    LONGEST_S,
    VideoError,
    is_indexed,
    open_media,
    require_length,
    start_time,
    stated_duration,
)

# Full scale is 1, or 2e9 for integers stored as floats. The power of louder samples would overflow float32.
_MAX_SAMPLE = 1e12
# Speech at lower rates says little, and the mel windows need several samples; no recorder has a higher rate, and the
# windows grow with it.
_MIN_RATE, _MAX_RATE = 4000, 768_000
# Containers round times to a millisecond or more, and clocks drift: shorter gaps are not.
_GAP_S = 0.05
# A longer gap is a damaged time. Silence of that length would fill the memory.
_LONGEST_GAP_S = 600.0
# Stated lengths may differ by a few frames.
_SHORT_END_S = 0.5
# Bytes by which programs misstate the size of a wav file; and the least that they state before they know it.
_HEADER_SLACK, _STREAMED = 4096, 0x7FFF0000
_BLOCK = 1 << 16


class SoundError(ValueError):
    """A sound that is missing or cannot be read."""


@dataclass(frozen=True)
class Sound:
    """One channel of sound."""

    wave: np.ndarray  # float32 `[x]`, full scale [-1, 1]
    sample_rate: int  # samples per second
    channels: int = 1  # number of channels of the file
    # Start and end in seconds of stretches that the file has no samples for; they are silent.
    gaps: tuple[tuple[float, float], ...] = ()
    failure: str = ""  # why the sound cannot be read further; empty if it is complete

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.wave) / self.sample_rate

    def cut(self, start: float, end: float) -> np.ndarray:
        """The samples from `start` to `end` (seconds, `end` may be infinite), float32 `[x]`, as far as they exist."""
        first, stop = sample_range(start, end, self.sample_rate)
        return self.wave[first:stop]


def sample_range(start: float, end: float, sample_rate: int) -> tuple[int, int | None]:
    """The first sample between two times in seconds, and the one after the last; None for an infinite end."""
    last = None if math.isinf(end) else max(round(min(end, LONGEST_S) * sample_rate), 0)
    return max(round(min(start, LONGEST_S) * sample_rate), 0), last


@contextmanager
def sound_errors() -> Iterator[None]:
    """Converts the errors of the sound libraries to `SoundError`."""
    try:
        yield
    except (soundfile.SoundFileError, FFmpegError, OSError) as error:
        raise SoundError(type(error).__name__) from error
    except VideoError as error:
        raise SoundError(str(error)) from error


def soundfile_name(path: Path) -> Any:
    """The name of a file for soundfile, which refuses those that are not UTF-8 unless they are bytes."""
    return os.fsencode(path)


def read_wav(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of a sound file, the last one if there are fewer, as far as it can be read.

    Raises `SoundError` if nothing can be read.
    """
    return _whole(stream_wav(path, channel))


def read_soundtrack(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of a video's first sound track, the last one if there are fewer, from the video's time 0.

    The track is read as far as it can be. Raises `SoundError` if nothing can be read.
    """
    return _whole(stream_soundtrack(path, channel))


def stream_wav(path: Path, channel: int = 0) -> Iterator[Sound]:
    """Yields the sound of `read_wav` in pieces; raises `SoundError` where it cannot be read further."""
    with sound_errors(), soundfile.SoundFile(soundfile_name(path)) as file:
        _require_rate(file.samplerate)
        require_length(file.frames / file.samplerate, path.stat().st_size)
        index = min(channel, file.channels - 1)
        # Not `file.blocks`, which yields unwritten memory where a file ends early.
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            yield _checked(np.ascontiguousarray(block[:, index]), file.samplerate, file.channels)
        _require_end(file.tell(), file.frames / file.samplerate, file.samplerate)
        _require_whole_riff(path)


def stream_soundtrack(path: Path, channel: int = 0) -> Iterator[Sound]:
    """Yields the sound of `read_soundtrack` in pieces; raises `SoundError` where it cannot be read further.

    Every frame lies at its own time: gaps between frames are silent, and of frames that overlap the first one counts.
    """
    rate = channels = position = 0
    with sound_errors(), open_media(path) as container:
        if not container.streams.audio:
            raise SoundError("the video has no sound track")
        zero = start_time(container)
        track = container.streams.audio[0]
        stated = stated_duration(container, track) if is_indexed(container) else None
        # Damaged times may add up to hours of silence after the end that the file states.
        end = LONGEST_S if container.duration is None else container.duration / av.time_base + _LONGEST_GAP_S
        packed, setup = av.AudioResampler(), ()
        for frame in container.decode(track):
            if not rate:
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                _require_rate(rate)
            if setup != (setup := (frame.format.name, frame.layout.name, frame.sample_rate)):
                # Broadcasts change their format. One plane for all channels: PyAV reads outside its memory if there are
                # eight planes.
                packed = av.AudioResampler(format="flt", rate=rate)
            skipped, exact = 0, not position
            if frame.time is not None or exact:
                late = round(((frame.time or 0.0) - zero) * rate) - position
                last = end if late > _GAP_S * rate else LONGEST_S
                if late > _LONGEST_GAP_S * rate or position + late > last * rate:
                    raise SoundError(f"the time jumps by {late / rate:.0f} s at {position / rate:.2f} s")
                if late > (0 if exact else _GAP_S * rate):
                    gap = position / rate, (position + late) / rate
                    yield Sound(np.zeros(late, np.float32), rate, channels, (gap,) if late > _GAP_S * rate else ())
                    position += late
                elif late < (0 if exact else -_GAP_S * rate):
                    skipped = -late
            for converted in packed.resample(frame):
                samples = converted.to_ndarray().reshape(-1, converted.layout.nb_channels)
                wave = np.ascontiguousarray(samples[:, min(channel, samples.shape[1] - 1)], np.float32)
                kept = wave[skipped:]
                skipped -= len(wave) - len(kept)
                position += len(kept)
                if len(kept):
                    yield _checked(kept, rate, channels)
        if rate and stated is not None:
            _require_end(position, stated, rate)


def _whole(pieces: Iterator[Sound]) -> Sound:
    read, failure = [], ""
    try:
        read.extend(pieces)
    except SoundError as error:
        if not read:
            raise
        failure = str(error)
    if not read:
        raise SoundError("no samples")
    gaps = tuple(gap for piece in read for gap in piece.gaps)
    wave = np.concatenate([piece.wave for piece in read])
    return Sound(wave, read[0].sample_rate, read[0].channels, gaps, failure)


def _require_end(position: int, stated: float, rate: int) -> None:
    """Raises `SoundError` where a sound ends before the stated seconds: the libraries report no error there."""
    if position < (stated - _SHORT_END_S) * rate:
        raise SoundError(f"it ends at {position / rate:.2f} s of {stated:.2f} s")


def _require_whole_riff(path: Path) -> None:
    """Raises `SoundError` if a wav file is shorter than its header states."""
    with path.open("rb") as file:
        kind, size = file.read(4), 8 + int.from_bytes(file.read(4), "little")
    found = path.stat().st_size
    if kind == b"RIFF" and found + _HEADER_SLACK < size < _STREAMED:
        raise SoundError(f"it ends at {found} of {size} bytes")


def _require_rate(rate: int) -> None:
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise SoundError(f"{rate} samples per second, expected {_MIN_RATE} to {_MAX_RATE}")


def _checked(wave: np.ndarray, rate: int, channels: int) -> Sound:
    if not (np.abs(wave) < _MAX_SAMPLE).all():
        raise SoundError(f"samples that are NaN, infinite, or above {_MAX_SAMPLE:g}")
    return Sound(wave, rate, channels)

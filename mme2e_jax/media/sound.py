"""Reads sound from a wav file or a video's sound track.

Axes: `x` samples.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from av.error import FFmpegError

# Full scale is 1, or 2e9 for integers stored as floats. The power of louder samples would overflow float32.
_MAX_SAMPLE = 1e12


class SoundError(ValueError):
    """A sound that is missing or cannot be read."""


@dataclass(frozen=True)
class Sound:
    """One channel of sound."""

    wave: np.ndarray  # float32 `[x]`, full scale [-1, 1]
    sample_rate: int  # samples per second
    channels: int = 1  # number of channels of the file

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
    return max(round(start * sample_rate), 0), None if math.isinf(end) else max(round(end * sample_rate), 0)


@contextmanager
def sound_errors() -> Iterator[None]:
    """Converts the errors of the sound libraries to `SoundError`."""
    try:
        yield
    except (soundfile.SoundFileError, FFmpegError, OSError) as error:
        raise SoundError(type(error).__name__) from error


def read_wav(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of a sound file, the last one if there are fewer.

    Raises `SoundError` if the file cannot be read, is empty, or holds invalid samples.
    """
    with sound_errors():
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    channels = samples.shape[1]
    return _checked(np.ascontiguousarray(samples[:, min(channel, channels - 1)]), rate, channels)


def read_soundtrack(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of a video's first sound track, the last one if there are fewer, from the video's time 0.

    Raises `SoundError` if the file cannot be read, has no sound, or holds invalid samples.
    """
    pieces = list(stream_soundtrack(path, channel))
    if not pieces:
        raise SoundError("no samples")
    first = pieces[0]
    return _checked(np.concatenate([piece.wave for piece in pieces]), first.sample_rate, first.channels)


def stream_soundtrack(path: Path, channel: int = 0) -> Iterator[Sound]:
    """Yields the sound of `read_soundtrack` in pieces; raises `SoundError` if it cannot be read up to its end."""
    rate = channels = skipped = 0
    with sound_errors(), av.open(str(path)) as container:
        if not container.streams.audio:
            raise SoundError("the video has no sound track")
        zero = max((container.start_time or 0) / av.time_base, 0.0)
        planes = av.AudioResampler(format="fltp")
        for frame in container.decode(container.streams.audio[0]):
            if not rate:
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                lead = round(((frame.time or 0.0) - zero) * rate)
                skipped = max(-lead, 0)
                if lead > 0:
                    yield Sound(np.zeros(lead, np.float32), rate, channels)
            for plane in planes.resample(frame):
                wave = plane.to_ndarray()[min(channel, channels - 1)].astype(np.float32, copy=False)
                kept = wave[skipped:]
                skipped -= len(wave) - len(kept)
                if len(kept):
                    yield Sound(kept, rate, channels)


def _checked(wave: np.ndarray, rate: int, channels: int) -> Sound:
    if not len(wave):
        raise SoundError("no samples")
    check_samples(wave)
    return Sound(wave, rate, channels)


def check_samples(wave: np.ndarray) -> None:
    """Raises `SoundError` for samples that are not finite or far too loud."""
    if not (np.abs(wave) < _MAX_SAMPLE).all():
        raise SoundError(f"samples that are NaN, infinite, or above {_MAX_SAMPLE:g}")

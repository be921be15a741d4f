"""Sound of a video: its wav file, or the track inside the video file.

Axes: `x` samples.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from av.error import FFmpegError

# Full scale is 1, of integers kept as floats 2e9. The power of what is louder would leave float32.
_LOUDEST = 1e12


class SoundError(ValueError):
    """A sound file that cannot be read, or holds nothing that is a sound."""


@dataclass(frozen=True)
class Sound:
    """One channel of sound.

    Attributes:
      wave: float32 `[x]`, full scale [-1, 1].
      sample_rate: in Hz.
      channels: that the file has.
    """

    wave: np.ndarray
    sample_rate: int
    channels: int = 1

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.wave) / self.sample_rate

    def cut(self, start: float, end: float) -> np.ndarray:
        """The samples from `start` to `end` (seconds, maybe infinite): float32 `[x]`, as far as there are any."""
        first, last = stretch(start, end, self.sample_rate)
        return self.wave[first:last]


def stretch(start: float, end: float, sample_rate: int) -> tuple[int, int | None]:
    """The first sample of what lies between two times in seconds, and the one behind its last; None for no end."""
    return max(round(start * sample_rate), 0), None if math.isinf(end) else max(round(end * sample_rate), 0)


def read_wav(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of a sound file, the last one if there are too few.

    Raises:
      SoundError: the file cannot be read, is empty, or holds samples that are no sound.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise SoundError(type(error).__name__) from error
    channels = samples.shape[1]
    return _checked(np.ascontiguousarray(samples[:, min(channel, channels - 1)]), rate, channels)


def read_track(path: Path, channel: int = 0) -> Sound:
    """Reads one channel of the first sound track of a video file, from the video's time zero on.

    It is the last channel if there are too few.

    Raises:
      SoundError: the file cannot be read, has no sound, or holds samples that are no sound.
    """
    pieces = list(track_pieces(path, channel))
    if not pieces:
        raise SoundError("no samples")
    first = pieces[0]
    return _checked(np.concatenate([piece.wave for piece in pieces]), first.sample_rate, first.channels)


def track_pieces(path: Path, channel: int = 0) -> Iterator[Sound]:
    """What `read_track` reads, piece by piece as it is decoded.

    Raises:
      SoundError: the file cannot be read (any further), or has no sound.
    """
    rate = channels = skipped = 0
    try:
        with av.open(str(path)) as container:
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
    except (FFmpegError, OSError) as error:
        raise SoundError(type(error).__name__) from error


def _checked(wave: np.ndarray, rate: int, channels: int) -> Sound:
    if not len(wave):
        raise SoundError("no samples")
    check_samples(wave)
    return Sound(wave, rate, channels)


def check_samples(wave: np.ndarray) -> None:
    """Raises `SoundError` if there are samples that are no sound."""
    if not (np.abs(wave) < _LOUDEST).all():
        raise SoundError(f"samples that are NaN, infinite, or above {_LOUDEST:g}")

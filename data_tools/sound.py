"""Sound of a video: its wav file, or the track inside the video file.

Axes: `x` samples.
"""

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
        """The samples from `start` to `end` (seconds): float32 `[x]`, as far as there are any."""
        first, last = (round(time * self.sample_rate) for time in (start, end))
        return self.wave[max(first, 0) : max(last, 0)]


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
    pieces: list[np.ndarray] = []
    rate = channels = 0
    first_time = 0.0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SoundError("the video has no sound track")
            zero = max((container.start_time or 0) / av.time_base, 0.0)
            planes = av.AudioResampler(format="fltp")
            for frame in container.decode(container.streams.audio[0]):
                if not pieces:
                    first_time, rate = (frame.time or 0.0) - zero, frame.sample_rate
                    channels = frame.layout.nb_channels
                pieces += [plane.to_ndarray()[min(channel, channels - 1)] for plane in planes.resample(frame)]
    except (FFmpegError, OSError) as error:
        raise SoundError(type(error).__name__) from error
    if not pieces:
        raise SoundError("no samples")
    wave = np.concatenate(pieces).astype(np.float32, copy=False)
    lead = round(first_time * rate)
    return _checked(np.pad(wave, (lead, 0)) if lead > 0 else wave[-lead:], rate, channels)


def _checked(wave: np.ndarray, rate: int, channels: int) -> Sound:
    if not len(wave):
        raise SoundError("no samples")
    if not (np.abs(wave) < _LOUDEST).all():
        raise SoundError(f"samples that are NaN, infinite, or above {_LOUDEST:g}")
    return Sound(wave, rate, channels)

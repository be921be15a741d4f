"""Sound of files of any length, of which only what is asked for is in memory.

Axes: `x` samples.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
from av.error import FFmpegError

from mme2e_jax.media.sound import Sound, SoundError, check_samples, stretch, track_pieces
from mme2e_jax.media.video import stated_seconds

_BLOCK = 1 << 16


class OpenSound:
    """One channel of a sound that is read as it is asked for; otherwise as `Sound`.

    A sound that breaks off ends there.
    """

    def __init__(self, pieces: Callable[[], Iterator[Sound]], duration: float):
        """Reads the first piece.

        Args:
          pieces: the sound from its start on, as one stretch.
          duration: in seconds, as the file states it.

        Raises:
          SoundError: there is none, or it holds samples that are no sound.
        """
        self._from_the_start, self.duration = pieces, duration
        first = self._open()
        self.sample_rate, self.channels = first.sample_rate, first.channels

    def _open(self) -> Sound:
        self._pieces: Iterator[Sound] = self._from_the_start()
        first = next(self._pieces, None)
        if first is None:
            raise SoundError("no samples")
        check_samples(first.wave)
        self._held, self._start, self._stop = [first.wave], 0, len(first.wave)
        return first

    def cut(self, start: float, end: float) -> np.ndarray:
        """The samples from `start` to `end` (seconds, maybe infinite): float32 `[x]`, as far as there are any.

        What lies before `start` is forgotten; going back there reads the file from its start again.
        """
        first, last = stretch(start, end, self.sample_rate)
        if first < self._start:
            self._open()
        self._forget(first)
        while last is None or self._stop < last:
            try:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                check_samples(piece.wave)
            except SoundError:
                self._pieces = iter(())
                break
            self._held.append(piece.wave)
            self._stop += len(piece.wave)
            self._forget(first)
        held = np.concatenate(self._held) if self._held else np.zeros(0, np.float32)
        return held[first - self._start : None if last is None else max(last - self._start, 0)]

    def _forget(self, before: int) -> None:
        while self._held and self._start + len(self._held[0]) <= before:
            self._start += len(self._held.pop(0))


class OpenSounds:
    """Keeps the file of the last call open, so that parts of it can be read one after the other."""

    def __init__(self) -> None:
        self._of: tuple[Path, int, int, int] | None = None
        self._sound: OpenSound | SoundError = SoundError("no file")

    def wav(self, path: Path, channel: int) -> OpenSound:
        """As `sound.read_wav`.

        Raises:
          SoundError: the file cannot be read.
        """
        return self._opened(path, channel, lambda: OpenSound(lambda: _wav_pieces(path, channel), _wav_seconds(path)))

    def track(self, path: Path, channel: int) -> OpenSound:
        """As `sound.read_track`.

        Raises:
          SoundError: the file cannot be read, or has no sound.
        """
        return self._opened(path, channel, lambda: OpenSound(lambda: track_pieces(path, channel), _track_seconds(path)))

    def _opened(self, path: Path, channel: int, opened: Callable[[], OpenSound]) -> OpenSound:
        try:
            # A file may have been replaced by another one of its name.
            of = path, channel, path.stat().st_mtime_ns, path.stat().st_size
        except OSError as error:
            raise SoundError(type(error).__name__) from error
        if self._of != of:
            self._of = of
            try:
                self._sound = opened()
            except SoundError as error:
                self._sound = error
        if isinstance(self._sound, SoundError):
            raise self._sound
        return self._sound


def _wav_pieces(path: Path, channel: int) -> Iterator[Sound]:
    try:
        with soundfile.SoundFile(path) as file:
            place = min(channel, file.channels - 1)
            for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
                yield Sound(np.ascontiguousarray(block[:, place]), file.samplerate, file.channels)
    except (soundfile.SoundFileError, OSError) as error:
        raise SoundError(type(error).__name__) from error


def _wav_seconds(path: Path) -> float:
    try:
        return soundfile.info(path).duration
    except (soundfile.SoundFileError, OSError) as error:
        raise SoundError(type(error).__name__) from error


def _track_seconds(path: Path) -> float:
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SoundError("the video has no sound track")
            return stated_seconds(container, container.streams.audio[0]) or 0.0
    except (FFmpegError, OSError) as error:
        raise SoundError(type(error).__name__) from error

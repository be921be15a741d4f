"""Reads long sounds in parts, with only the requested part in memory.

Axes: `x` samples.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from mme2e_jax.media.sound import (
    Sound,
    SoundError,
    sample_range,
    sound_errors,
    soundfile_name,
    stream_soundtrack,
    stream_wav,
)
from mme2e_jax.media.video import open_media, track_duration


class SoundStream:
    """One channel of a sound that is read on request, with the interface of `Sound`.

    The sound ends at the first sample that cannot be read. `gaps` and `failure` are those found so far.
    """

    def __init__(self, read_pieces: Callable[[], Iterator[Sound]], duration: float):
        """Reads the first piece; raises `SoundError` if there are no samples, or they are invalid.

        `read_pieces` starts reading the sound from its beginning, `duration` is the length in seconds that the file
        states.
        """
        self._read_pieces, self.duration = read_pieces, duration
        self.gaps: list[tuple[float, float]] = []
        self.failure = ""
        first = self._open()
        self.sample_rate, self.channels = first.sample_rate, first.channels

    def _open(self) -> Sound:
        self._pieces: Iterator[Sound] = self._read_pieces()
        first = next(self._pieces, None)
        if first is None:
            raise SoundError("no samples")
        self._held, self._start, self._stop = [first.wave], 0, len(first.wave)
        self.gaps = list(first.gaps)
        return first

    def cut(self, start: float, end: float) -> np.ndarray:
        """The samples from `start` to `end` (seconds, `end` may be infinite), float32 `[x]`, as far as they exist.

        Samples before `start` are discarded; an earlier `start` reads the file from its beginning again.
        """
        first, stop = sample_range(start, end, self.sample_rate)
        if first < self._start:
            self._open()
        self._discard(first)
        while stop is None or self._stop < stop:
            try:
                piece = next(self._pieces, None)
                if piece is None:
                    break
            except SoundError as error:
                self._pieces, self.failure = iter(()), str(error)
                break
            self.gaps += piece.gaps
            self._held.append(piece.wave)
            self._stop += len(piece.wave)
            self._discard(first)
        held = np.concatenate(self._held) if self._held else np.zeros(0, np.float32)
        return held[first - self._start : None if stop is None else max(stop - self._start, 0)]

    def _discard(self, before: int) -> None:
        while self._held and self._start + len(self._held[0]) <= before:
            self._start += len(self._held.pop(0))


class SoundStreamCache:
    """Keeps the last stream open, so that consecutive parts of a file are read without decoding it again."""

    def __init__(self) -> None:
        self._key: tuple[Path, int, int, int] | None = None
        self._stream: SoundStream | SoundError = SoundError("no file")

    def wav(self, path: Path, channel: int) -> SoundStream:
        """As `sound.read_wav`; raises `SoundError` if the file cannot be read."""
        return self._get(path, channel, stream_wav, _wav_duration)

    def soundtrack(self, path: Path, channel: int) -> SoundStream:
        """As `sound.read_soundtrack`; raises `SoundError` if the file cannot be read or has no sound."""
        return self._get(path, channel, stream_soundtrack, _soundtrack_duration)

    def _get(
        self,
        path: Path,
        channel: int,
        read_pieces: Callable[[Path, int], Iterator[Sound]],
        read_duration: Callable[[Path], float],
    ) -> SoundStream:
        with sound_errors():
            # Time and size detect that the file was replaced.
            key = path, channel, path.stat().st_mtime_ns, path.stat().st_size
        if self._key != key:
            self._key = key
            try:
                self._stream = SoundStream(lambda: read_pieces(path, channel), read_duration(path))
            except SoundError as error:
                self._stream = error
        if isinstance(self._stream, SoundError):
            raise self._stream
        return self._stream


def _wav_duration(path: Path) -> float:
    with sound_errors():
        return soundfile.info(soundfile_name(path)).duration


def _soundtrack_duration(path: Path) -> float:
    with sound_errors(), open_media(path) as container:
        if not container.streams.audio:
            raise SoundError("the video has no sound track")
        return track_duration(container, container.streams.audio[0]) or 0.0

"""Writes movies (H.264 and AAC) and sound files, with the same bytes for the same content."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.audio.resampler import AudioResampler
from scipy.io import wavfile

_AAC_BLOCK = 1024  # samples


class Movie:
    """An mp4 file under construction; use it as a context manager.

    One encoder thread only: x264 decides differently with another number of threads.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, sample_rate: int):
        """Opens `path` for frames of `size` (width, height) and mono sound at `sample_rate` Hz."""
        self._sample_rate = sample_rate
        self._samples = 0
        # "bitexact" keeps times and library versions out of the file.
        self._container = av.open(str(path), "w", options={"fflags": "+bitexact"})
        self._video = self._container.add_stream(
            "libx264",
            rate=fps,
            options={"preset": "superfast", "crf": "21", "threads": "1", "flags": "+bitexact"},
        )
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.thread_count = 1
        self._audio = self._container.add_stream("aac", rate=sample_rate, layout="mono", options={"flags": "+bitexact"})
        self._resampler = AudioResampler(format="fltp", layout="mono", rate=sample_rate)

    def __enter__(self) -> "Movie":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
        self._container.close()

    def append(self, frames: Iterable[np.ndarray], sound: np.ndarray) -> None:
        """Adds a scene: uint8 RGB [h, w, 3] frames, and float [samples] in [-1, 1] with it."""
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            self._container.mux(self._video.encode(picture))
        samples = to_int16(sound)
        for start in range(0, len(samples), _AAC_BLOCK):
            block = np.ascontiguousarray(samples[None, start : start + _AAC_BLOCK])
            audio = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            audio.sample_rate = self._sample_rate
            audio.pts = self._samples
            self._samples += block.shape[1]
            for converted in self._resampler.resample(audio):
                self._container.mux(self._audio.encode(converted))


def write_wav(path: Path, sound: np.ndarray, sample_rate: int) -> None:
    """Writes float [samples] in [-1, 1] as 16-bit mono."""
    wavfile.write(path, sample_rate, to_int16(sound))


def to_int16(sound: np.ndarray) -> np.ndarray:
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)

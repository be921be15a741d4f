"""Writes movies and sound files reproducibly, byte for byte."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from scipy.io import wavfile

_AAC_BLOCK = 1024  # samples


@dataclass(frozen=True)
class Codecs:
    """Encoders of video and sound."""

    video: Literal["libx264", "mpeg4"]  # FFmpeg's name of the encoder
    audio: Literal["aac", "pcm_s16le"]
    sample_format: str  # sample format of the sound's encoder
    layout: str  # channel layout
    options: Mapping[str, str]  # options of the video encoder
    bit_rate: int = 0  # bit rate of the video; 0 if `options` determine the quality


H264 = Codecs("libx264", "aac", "fltp", "mono", {"preset": "superfast", "crf": "21"})
DIVX = Codecs("mpeg4", "pcm_s16le", "s16", "stereo", {}, bit_rate=1_500_000)


class Movie:
    """A movie file being written, as a context manager; one thread, on whose number the output of x264 depends."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, sample_rate: int, codecs: Codecs = H264):
        """Opens `path` for frames of `size` (width, height) and sound at `sample_rate` Hz."""
        self._sample_rate = sample_rate
        self._samples = 0
        # "bitexact" keeps times and library versions out of the file.
        self._container = av.open(str(path), "w", options={"fflags": "+bitexact"})
        self._video = self._container.add_stream(
            codecs.video, rate=fps, options={**codecs.options, "threads": "1", "flags": "+bitexact"}
        )
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.thread_count = 1
        if codecs.bit_rate:
            self._video.bit_rate = codecs.bit_rate
        self._layout = codecs.layout
        self._audio: AudioStream = self._container.add_stream(
            codecs.audio, rate=sample_rate, layout=codecs.layout, options={"flags": "+bitexact"}
        )
        self._resampler = AudioResampler(format=codecs.sample_format, layout=codecs.layout, rate=sample_rate)

    def __enter__(self) -> "Movie":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
        self._container.close()

    def append(self, frames: Iterable[np.ndarray], sound: np.ndarray) -> None:
        """Adds uint8 RGB `[h, w, 3]` frames, and float sound `[samples]` or `[channels, samples]` in [-1, 1]."""
        for frame in frames:
            self._container.mux(self._video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        samples = np.atleast_2d(to_int16(sound))
        for start in range(0, samples.shape[1], _AAC_BLOCK):
            block = np.ascontiguousarray(samples[:, start : start + _AAC_BLOCK])
            audio = av.AudioFrame.from_ndarray(block, format="s16p", layout=self._layout)
            audio.sample_rate = self._sample_rate
            audio.pts = self._samples
            self._samples += block.shape[1]
            for converted in self._resampler.resample(audio):
                self._container.mux(self._audio.encode(converted))


def write_wav(path: Path, sound: np.ndarray, sample_rate: int) -> None:
    """Writes float `[samples]` or `[channels, samples]` in [-1, 1] as 16 bit."""
    wavfile.write(path, sample_rate, to_int16(sound).T)


def to_int16(sound: np.ndarray) -> np.ndarray:
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)

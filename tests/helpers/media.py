"""Small media files and releases for tests of preparation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile


def write_video(
    path: Path,
    levels: Sequence[int],
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    wave: np.ndarray | None = None,
) -> None:
    """A video whose frame i is grey of brightness `levels[i]`; `wave` float `[x]` at 16 kHz is its sound."""
    width, height = size
    write_frames(path, np.array([np.full((height, width, 3), level) for level in levels], np.uint8), fps, wave)


def write_frames(path: Path, frames: np.ndarray, fps: int = 10, wave: np.ndarray | None = None) -> None:
    """A video of uint8 RGB `[t, height, width, 3]`; `wave` float `[x]` at 16 kHz is its sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "4", "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        track = None if wave is None else container.add_stream("aac", rate=16_000, layout="mono")
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        if track is not None and wave is not None:
            for start in range(0, len(wave), 1024):
                block = wave[None, start : start + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                container.mux(track.encode(frame))
            container.mux(track.encode(None))


def rotate(path: Path, clockwise: int) -> None:
    """Marks the pictures of an MP4 file to be shown turned clockwise by 90, 180 or 270 degrees."""
    one, minus = (1 << 16).to_bytes(4, "big"), (-1 << 16).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    matrix = {
        90: (zero, one, zero, minus, zero, zero),
        180: (minus, zero, zero, zero, minus, zero),
        270: (zero, minus, zero, one, zero, zero),
    }[clockwise]
    content = bytearray(path.read_bytes())
    # In the track header of the first track, after its type: version, times, identifier, duration, layer, volume.
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 24] = b"".join(matrix)
    path.write_bytes(content)


def write_sound(path: Path, stretches: Sequence[tuple[float, np.ndarray]], codec: str = "aac") -> None:
    """A sound file with the given stretches, each a start in seconds and float samples `[x]` at 16 kHz."""
    with av.open(str(path), "w") as container:
        # The type depends on the name of the codec.
        track: Any = container.add_stream(codec, rate=16_000, layout="mono")
        for start, wave in stretches:
            for offset in range(0, len(wave), 1024):
                block = (wave[None, offset : offset + 1024] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 16_000, round(start * 16_000) + offset
                container.mux(track.encode(frame))
        container.mux(track.encode(None))


def write_wav(path: Path, wave: np.ndarray, rate: int = 16_000) -> None:
    """A 16-bit wav file of float samples `[x]` or `[x, channels]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="PCM_16")


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    """A sine at half scale, float64 `[x]` at 16 kHz."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)

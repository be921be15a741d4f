"""Media files of every kind, and what an utterance of their whole length holds."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition

from tests.helpers.media import rotate, tone

RATE = 16_000


@dataclass(frozen=True)
class Pictures:
    """A video track: the grey level and start in milliseconds of each frame."""

    frames: tuple[tuple[int, int], ...] = tuple((10 * i, 100 * i) for i in range(20))
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    disposition: Disposition | None = None


@dataclass(frozen=True)
class SoundTrack:
    """A sound track: start in seconds and samples `[x]` of each stretch, in every one of its channels."""

    stretches: tuple[tuple[float, np.ndarray], ...] = ((0.0, tone(2.0)),)
    layout: str = "mono"
    codec: str = "aac"


def write(path: Path, *tracks: Pictures | SoundTrack) -> None:
    """Writes the tracks to a file of the type that its name says."""
    with av.open(str(path), "w") as container:
        packets = [
            _pictures(container, track) if isinstance(track, Pictures) else _sound(container, track) for track in tracks
        ]
        # All tracks exist before the header is written.
        for encode in packets:
            for packet in encode():
                container.mux(packet)


def _pictures(container: OutputContainer, track: Pictures) -> Callable[[], list[av.Packet]]:
    options = {"crf": "4", "preset": "veryfast", "bf": "0"} if track.codec.startswith("libx26") else {}
    stream: Any = container.add_stream(track.codec, rate=1000, options=options)
    stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, track.pix_fmt, Fraction(1, 1000)
    if track.disposition is not None:
        stream.disposition = track.disposition

    def encode() -> list[av.Packet]:
        packets = []
        for level, milliseconds in track.frames:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            packets += stream.encode(frame)
        return packets + stream.encode(None)

    return encode


def _sound(container: OutputContainer, track: SoundTrack) -> Callable[[], list[av.Packet]]:
    stream: Any = container.add_stream(track.codec, rate=RATE, layout=track.layout)

    def encode() -> list[av.Packet]:
        packets = []
        channels = stream.layout.nb_channels
        for start, wave in track.stretches:
            for offset in range(0, len(wave), 1024):
                block = (32767 * np.repeat(wave[offset : offset + 1024], channels)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout=track.layout)
                frame.sample_rate, frame.pts, frame.time_base = RATE, round(start * RATE) + offset, Fraction(1, RATE)
                packets += stream.encode(frame)
        return packets + stream.encode(None)

    return encode


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forged(path: Path) -> None:
    """Makes a Matroska file state a length of 99 hours."""
    content = path.read_bytes()
    assert b"00:00:0" in content
    path.write_bytes(content.replace(b"00:00:0", b"99:00:0"))


def starting(seconds: float) -> tuple[Pictures, SoundTrack]:
    """Both tracks, which start at a time of the file's clock."""
    frames = tuple((10 * i, round(1000 * seconds) + 100 * i) for i in range(20))
    return Pictures(frames), SoundTrack(((seconds, tone(2.0)),))


# Half a minute before the clock of MPEG transport streams, of 33 bits at 90 kHz, returns to 0: a negative time.
BEFORE_ZERO = 2**33 / 90_000 - 30
LATE_PICTURES = Pictures(tuple((10 * i, 100 * i) for i in range(10, 20)))
LONG_SOUND = SoundTrack(((0.0, tone(5.0)),))
LATE_SOUND = SoundTrack(((1.0, tone(1.0)),), codec="pcm_s16le")
LATE_SOUND_AAC = SoundTrack(((1.0, tone(1.0)),))
GAPPED = SoundTrack(((0.0, tone(0.5)), (1.5, tone(0.5))), codec="pcm_s16le")
COVER = Pictures(((200, 0),), "mjpeg", "yuvj420p", Disposition.attached_pic)
UNEVEN = Pictures(((0, 0), (10, 100), (20, 200), (100, 1000), (110, 1100), (190, 1900)))


@dataclass(frozen=True)
class Case:
    """A file, and what an utterance from 0 s to its end holds."""

    name: str
    tracks: tuple[Pictures | SoundTrack, ...]
    levels: list[int]  # grey levels of its frames, one in 500 ms
    seconds: float  # seconds of sound
    chunks: int  # mel chunks of 32 steps of 12.5 ms, of which a sound has one more than fit in it
    findings: AbstractSet[str] = frozenset()
    change: Callable[[Path], None] = lambda path: None
    refusal: str = ""  # pattern of the message that refuses to predict on it


BOTH = (Pictures(), SoundTrack())
SEEN = [0, 50, 100, 150]
# The file starts with the silence that an AAC encoder adds, 64 ms before the pictures.
AFTER_PRIMING = [0, 40, 90, 140, 190]
CASES = [
    Case("plain.mp4", BOTH, SEEN, 2.0, 6),
    Case("plain.mkv", BOTH, SEEN, 2.0, 6),
    Case("rotated.mp4", BOTH, SEEN, 2.0, 6, change=lambda path: rotate(path, 90)),
    Case("rate varies.mkv", (UNEVEN, SoundTrack()), [0, 20, 100, 110], 2.0, 6),
    Case("ten bits.mkv", (Pictures(codec="ffv1", pix_fmt="yuv420p10le"), SoundTrack()), SEEN, 2.0, 6),
    Case("late start.mkv", starting(5.0), SEEN, 2.0, 6),
    Case("late start.ts", starting(5.0), AFTER_PRIMING, 2.0, 6),
    Case("negative start.ts", starting(BEFORE_ZERO), AFTER_PRIMING, 2.0, 6),
    Case("late pictures.mkv", (LATE_PICTURES, SoundTrack()), [100, 100, 100, 150], 2.0, 6),
    Case("late pictures.mp4", (LATE_PICTURES, SoundTrack()), [100, 100, 100, 150], 2.0, 6),
    Case("late pictures.ts", (LATE_PICTURES, SoundTrack()), [100, 100, 100, 140, 190], 2.0, 6),
    Case("late sound.mkv", (Pictures(), LATE_SOUND), SEEN, 2.0, 6, {"sound_gap"}),
    Case("late sound.mp4", (Pictures(), LATE_SOUND_AAC), SEEN, 2.0, 6, {"sound_gap"}),
    Case("gap.mkv", (Pictures(), GAPPED), SEEN, 2.0, 6, {"sound_gap"}),
    Case("long sound.mp4", (Pictures(), LONG_SOUND), SEEN, 5.0, 13, {"length_mismatch"}),
    Case("long sound.mkv", (Pictures(), LONG_SOUND), SEEN, 5.0, 13, {"length_mismatch"}),
    Case("short sound.mkv", (Pictures(), SoundTrack(((0.0, tone(1.0)),))), SEEN, 1.0, 3, {"length_mismatch"}),
    Case("eight channels.mkv", (Pictures(), SoundTrack(layout="7.1", codec="flac")), SEEN, 2.0, 6),
    Case("two of each.mkv", (*BOTH, Pictures(((200, 0), (200, 1900))), LONG_SOUND), SEEN, 2.0, 6),
    Case("cover.mp4", (COVER, *BOTH), SEEN, 2.0, 6),
    Case("no pictures.mp4", (SoundTrack(),), [], 2.0, 6, {"broken_video"}),
    Case("no sound.mp4", (Pictures(),), SEEN, 0.0, 0, {"no_wav"}),
    Case(
        "truncated.mkv",
        (Pictures(codec="ffv1"), SoundTrack(codec="pcm_s16le")),
        [0, 50],
        1.0,
        3,
        {"broken_video", "broken_sound"},
        truncated,
    ),
    Case(
        "truncated.mp4",
        BOTH,
        [],
        0.0,
        0,
        {"no_wav", "broken_video", "no_media"},
        truncated,
        "Expected a video or sound file that FFmpeg reads, found .*truncated.mp4: Invalid data",
    ),
    Case(
        "forged.mkv",
        (Pictures(),),
        [],
        0.0,
        0,
        {"no_wav", "broken_video", "no_media"},
        forged,
        "Expected the length of a recording in .*forged.mkv, found a length of 3564.. s, expected at most 172800 s",
    ),
]


def make(case: Case, directory: Path) -> Path:
    """Writes the file of a case."""
    path = directory / case.name
    write(path, *case.tracks)
    case.change(path)
    return path

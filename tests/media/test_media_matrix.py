"""What each kind of media file yields, read as a whole (preparation) and in parts (prediction)."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.stream import Disposition

from mme2e_jax.media.arrays import Arrays, Footage
from mme2e_jax.media.extract import Extracted, ExtractSettings, extract
from mme2e_jax.media.faces import FaceDetector
from mme2e_jax.media.sound_stream import SoundStreamCache
from mme2e_jax.media.utterance import Media, Utterance
from tests.helpers.media import rotate, tone
from tests.media.test_extract import BrightFaces

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
    content = path.read_bytes()
    assert b"00:00:0" in content
    path.write_bytes(content.replace(b"00:00:0", b"99:00:0"))


LATE = Pictures(tuple((10 * i, 5000 + 100 * i) for i in range(20)))
LONG_SOUND = SoundTrack(((0.0, tone(5.0)),))
GAPPED = SoundTrack(((0.0, tone(0.5)), (1.5, tone(0.5))), codec="pcm_s16le")
COVER = Pictures(((200, 0),), "mjpeg", "yuvj420p", Disposition.attached_pic)
UNEVEN = Pictures(((0, 0), (10, 100), (20, 200), (100, 1000), (110, 1100), (190, 1900)))


@dataclass(frozen=True)
class Case:
    """A file and what an utterance from 0 s to its end holds: levels of its frames, seconds of sound, findings."""

    name: str
    tracks: tuple[Pictures | SoundTrack, ...]
    levels: list[int]
    seconds: float
    findings: AbstractSet[str] = frozenset()
    change: Callable[[Path], None] = lambda path: None


BOTH = (Pictures(), SoundTrack())
SEEN = [0, 50, 100, 150]
CASES = [
    Case("plain.mp4", BOTH, SEEN, 2.0),
    Case("plain.mkv", BOTH, SEEN, 2.0),
    Case("rotated.mp4", BOTH, SEEN, 2.0, change=lambda path: rotate(path, 90)),
    Case("rate varies.mkv", (UNEVEN, SoundTrack()), [0, 20, 100, 110], 2.0),
    Case("ten bits.mkv", (Pictures(codec="ffv1", pix_fmt="yuv420p10le"), SoundTrack()), SEEN, 2.0),
    Case("late start.mkv", (LATE, SoundTrack(((5.0, tone(2.0)),))), SEEN, 2.0),
    Case("gap.mkv", (Pictures(), GAPPED), SEEN, 2.0, {"sound_gap"}),
    Case("long sound.mp4", (Pictures(), LONG_SOUND), SEEN, 5.0, {"length_mismatch"}),
    Case("long sound.mkv", (Pictures(), LONG_SOUND), SEEN, 5.0, {"length_mismatch"}),
    Case("short sound.mkv", (Pictures(), SoundTrack(((0.0, tone(1.0)),))), SEEN, 1.0, {"length_mismatch"}),
    Case("eight channels.mkv", (Pictures(), SoundTrack(layout="7.1", codec="flac")), SEEN, 2.0),
    Case("two of each.mkv", (*BOTH, Pictures(((200, 0), (200, 1900))), LONG_SOUND), SEEN, 2.0),
    Case("cover.mp4", (COVER, *BOTH), SEEN, 2.0),
    Case("no pictures.mp4", (SoundTrack(),), [], 2.0, {"broken_video"}),
    Case("no sound.mp4", (Pictures(),), SEEN, 0.0, {"no_wav"}),
    Case("forged.mkv", (Pictures(),), [], 0.0, {"no_wav", "broken_video", "no_media"}, forged),
]


def sound_and_faces(footage: Footage) -> Arrays:
    assert footage.sample_rate == RATE
    return {"faces": footage.faces, "wave": footage.wave}


def read(path: Path, streams: SoundStreamCache | None) -> Extracted:
    utterance = Utterance("v_0", "v", 0.0, float("inf"), "text", (), "v", view="whole")
    settings = ExtractSettings(sound_in_video=True)
    detector = cast(FaceDetector, BrightFaces())
    return extract([utterance], Media(path, None), settings, detector, sound_and_faces, streams)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_yields_what_it_shows_and_says_what_is_missing(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    write(path, *case.tracks)
    case.change(path)

    for streams in (None, SoundStreamCache()):
        result = read(path, streams)

        reasons = {finding.reason for finding in result.findings} - {"some_faces_missing"}
        assert reasons == case.findings
        if "no_media" in reasons:
            assert not result.arrays
            continue
        arrays = result.arrays["v_0"]
        np.testing.assert_allclose(arrays["faces"].mean((1, 2, 3)), case.levels, atol=3)
        # An AAC encoder adds silence before and after.
        assert len(arrays["wave"]) / RATE == pytest.approx(case.seconds, abs=0.15)
        if case.seconds:
            assert np.abs(arrays["wave"]).max() == pytest.approx(0.5, abs=0.1)


def test_a_truncated_file_keeps_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    write(path, Pictures(codec="ffv1"), SoundTrack(codec="pcm_s16le"))
    truncated(path)

    result = read(path, None)

    assert "broken_video" in {finding.reason for finding in result.findings}
    assert 0 < len(result.arrays["v_0"]["faces"]) < 4

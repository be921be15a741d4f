"""Tests frames at exact times, by brightness that encodes their number."""

from pathlib import Path

import av
import numpy as np
import pytest

from mme2e_jax.media.video import VideoError, frames_at, sample_times, video_duration
from tests.helpers.media import rotate, tone, write_frames, write_video, write_wav

# Frame i of the 10 fps video is on screen from 0.1 * i to 0.1 * (i + 1) and has brightness 10 * i.
LEVELS = [10 * i for i in range(20)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "numbers.mp4"
    write_video(path, LEVELS)
    return path


def numbers(path: Path, times: list[float]) -> dict[int, int]:
    return {i: round(float(np.mean(frame)) / 10) for i, frame in frames_at(path, times)}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 2.0, [0.0, 0.5, 1.0, 1.5]),  # the end itself is outside
        (0.2, 2.21, [0.2, 0.7, 1.2, 1.7, 2.2]),
        (3.0, 3.1, [3.0]),
        (3.0, 3.0, []),
    ],
)
def test_times_start_at_the_utterance_and_stay_below_its_end(start: float, end: float, expected: list[float]) -> None:
    assert sample_times(start, end, 500) == pytest.approx(expected)


def test_the_frame_on_screen_is_chosen(video: Path) -> None:
    times = [0.0, 0.05, 0.0999, 0.1, 0.55, 0.55, 1.9999]

    # 0.0999 lies within the millisecond that rounding of written times may cost: it means 0.1.
    assert numbers(video, times) == {0: 0, 1: 0, 2: 1, 3: 1, 4: 5, 5: 5, 6: 19}


def test_times_after_the_last_frame_have_none(video: Path) -> None:
    assert numbers(video, [1.85, 1.95, 2.05, 7.0]) == {0: 18, 1: 19}


def test_a_time_before_the_first_frame_means_the_first(video: Path) -> None:
    assert numbers(video, [-1.0, 0.3]) == {0: 0, 1: 3}


def test_every_frame_rate_is_understood(tmp_path: Path) -> None:
    write_video(tmp_path / "fast.mp4", [7 * i for i in range(30)], fps=30)

    levels = {i: float(np.mean(f)) for i, f in frames_at(tmp_path / "fast.mp4", [0.0333, 0.5, 0.51])}

    # At 30 fps frame 1 starts at 0.0333.., frame 15 at 0.5.
    assert levels == pytest.approx({0: 7, 1: 105, 2: 105}, abs=2)


def test_frames_are_rgb(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))

    ((_, frame),) = frames_at(tmp_path / "red.mp4", [0.0])

    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_allclose(frame.mean((0, 1)), [255, 0, 0], atol=6)


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_pictures_are_turned_as_their_metadata_says(clockwise: int, tmp_path: Path) -> None:
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:24, :48] = 200  # bright at the top left
    write_frames(tmp_path / "v.mp4", np.stack([picture] * 5))
    rotate(tmp_path / "v.mp4", clockwise)

    ((_, frame),) = frames_at(tmp_path / "v.mp4", [0.0])

    np.testing.assert_allclose(frame, np.rot90(picture, -clockwise // 90), atol=20)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_outlasts_the_pictures_does_not_lengthen_them(suffix: str, tmp_path: Path) -> None:
    write_video(tmp_path / f"v.{suffix}", LEVELS, wave=tone(5.0))

    assert video_duration(tmp_path / f"v.{suffix}") == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        (99, "a length of 356402 s, expected at most 172800 s"),
        (20, r"a length of 72002 s in \d+ bytes, expected 16 a second"),
    ],
)
def test_a_forged_length_is_refused(hours: int, message: str, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mkv", LEVELS)
    content = (tmp_path / "v.mkv").read_bytes()
    assert content.count(b"00:00:02.0") == 1
    (tmp_path / "v.mkv").write_bytes(content.replace(b"00:00:02.0", b"%d:00:02.0" % hours))

    with pytest.raises(VideoError, match=message):
        video_duration(tmp_path / "v.mkv")


def test_duration_is_the_picture_tracks(video: Path) -> None:
    assert video_duration(video) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 4096])
def test_a_broken_file_is_a_video_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)

    with pytest.raises(VideoError):
        list(frames_at(path, [0.0]))
    with pytest.raises(VideoError):
        video_duration(path)


def test_a_sound_file_has_no_pictures(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.1))

    with pytest.raises(VideoError, match="no video track"):
        video_duration(tmp_path / "a.wav")


def write_long(path: Path, keyframes: int, bframes: int = 2) -> None:
    """A minute at 10 fps; frame i is of brightness i modulo 200, with a keyframe every so many frames."""
    with av.open(str(path), "w") as container:
        options = {"crf": "4", "preset": "veryfast", "g": str(keyframes), "bf": str(bframes), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(600):
            picture = np.full((48, 64, 3), i % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("keyframes", [10, 50, 1000])
def test_gaps_between_times_change_no_frame(suffix: str, keyframes: int, tmp_path: Path) -> None:
    # AVI cannot tell when pictures that are stored out of order are shown.
    write_long(tmp_path / f"v.{suffix}", keyframes, bframes=0 if suffix == "avi" else 2)
    times = [0.05, 14.0, 14.5, 29.95, 30.0, 30.0, 59.9, 60.5]

    found = list(frames_at(tmp_path / f"v.{suffix}", times))

    assert [i for i, _ in found] == list(range(7))
    expected = [int(time * 10 + 1e-6) % 200 for time in times[:7]]
    np.testing.assert_allclose([frame.mean() for _, frame in found], expected, atol=2)


def test_what_lies_between_is_not_decoded(tmp_path: Path) -> None:
    write_long(tmp_path / "v.mp4", keyframes=10)
    content = bytearray((tmp_path / "v.mp4").read_bytes())
    with av.open(str(tmp_path / "v.mp4")) as container:
        packets = [
            (p.pos, p.size)
            for p in container.demux(video=0)
            if p.pos is not None and 100 <= (p.pts or 0) * float(p.time_base or 0) * 10 < 400
        ]
    for start, size in packets:
        content[start : start + size] = bytes(size)
    (tmp_path / "v.mp4").write_bytes(content)

    found = dict(frames_at(tmp_path / "v.mp4", [1.0, 55.0]))

    np.testing.assert_allclose([found[0].mean(), found[1].mean()], [10, 150], atol=2)


def test_texts_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", LEVELS)
    content = (tmp_path / "v.mp4").read_bytes()
    assert content.count(b"VideoHandler") == 1
    (tmp_path / "v.mp4").write_bytes(content.replace(b"VideoHandler", b"\xff\xfedeoHandler"))

    assert video_duration(tmp_path / "v.mp4") == pytest.approx(2.0, abs=0.01)
    assert numbers(tmp_path / "v.mp4", [0.5]) == {0: 5}


def test_an_unknown_codec_is_a_video_error(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mkv", LEVELS)
    content = (tmp_path / "v.mkv").read_bytes()
    assert content.count(b"V_MPEG4/ISO/AVC") == 1
    (tmp_path / "v.mkv").write_bytes(content.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/NIL"))

    with pytest.raises(VideoError, match="no decoder for its codec"):
        list(frames_at(tmp_path / "v.mkv", [0.0]))


def test_pictures_that_would_fill_the_memory_are_a_video_error(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8000, 5008, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(8000, 5008, "yuv420p")))
        container.mux(stream.encode(None))

    with pytest.raises(VideoError, match="pictures of 8000 x 5008, expected at most 40000000 pixels"):
        list(frames_at(tmp_path / "v.avi", [0.0]))

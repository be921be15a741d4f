"""Tests the extraction of one video with a fake face detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from mme2e_jax.media.arrays import media_arrays
from mme2e_jax.media.extract import Extracted, ExtractSettings, extract
from mme2e_jax.media.face_choice import Face
from mme2e_jax.media.faces import FaceDetector
from mme2e_jax.media.mel import mel_chunks
from mme2e_jax.media.sound import read_wav
from mme2e_jax.media.sound_stream import SoundStreamCache
from mme2e_jax.media.utterance import Finding, Media, Utterance
from tests.helpers.closeness import assert_close
from tests.helpers.media import tone, write_frames, write_sound, write_video, write_wav

# Frame i of the 10 fps videos has brightness 10 * i, and lasts from 0.1 * i to 0.1 * (i + 1).
LEVELS = [10 * i for i in range(20)]


class BrightFaces:
    """Finds a face, of the whole picture, in every picture brighter than 45."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def find(self, pictures: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        self.batches.append(len(pictures))
        height, width = pictures[0].shape[:2]
        whole = Face((0.0, 0.0, float(width), float(height)), 1.0)
        return [[whole] if picture.mean() > 45 else [] for picture in pictures]


def run(
    spans: list[tuple[float, float]],
    video: Path | None,
    wav: Path | None,
    detector: Any = None,
    **settings: Any,
) -> Extracted:
    utterances = [Utterance(f"v_{i}", "v", *span, "text", (0,) * 6, speaker="v") for i, span in enumerate(spans)]
    detector = cast(FaceDetector, detector or BrightFaces())
    return extract(utterances, Media(video, wav), ExtractSettings(**settings), detector, media_arrays)


def reasons(result: Extracted) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in result.findings:
        found.setdefault(finding.id, []).append(finding.reason)
    return found


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("media")
    paths = {name: folder / name for name in ("v.mp4", "v.wav", "long.wav", "short.wav", "bad", "sound.mp4")}
    write_video(paths["v.mp4"], LEVELS)
    write_video(paths["sound.mp4"], LEVELS, wave=tone(2.0))
    write_wav(paths["v.wav"], tone(2.0))
    write_wav(paths["long.wav"], tone(3.0))
    write_wav(paths["short.wav"], tone(1.0))
    paths["bad"].write_bytes(b"not media")
    return paths


def test_overlapping_utterances_get_their_own_frames_and_sound(media: dict[str, Path]) -> None:
    detector = BrightFaces()
    result = run([(0.5, 1.8), (0.0, 1.0)], media["v.mp4"], media["v.wav"], detector)

    # At 0.0, 0.5, 1.0 and 1.5 s: the faces of a shared frame are found once.
    assert sum(detector.batches) == 4
    assert result.findings[0].reason == "some_faces_missing"
    assert reasons(result) == {"v_1": ["some_faces_missing"]}
    first, second = result.arrays["v_0"], result.arrays["v_1"]
    # Frames 5, 10 and 15 at 0.5, 1.0 and 1.5 s; frames 0 and 5 at 0.0 and 0.5 s.
    np.testing.assert_allclose(first["faces"].mean((1, 2, 3)), [50, 100, 150], atol=2)
    np.testing.assert_allclose(second["faces"].mean((1, 2, 3)), [0, 50], atol=2)
    np.testing.assert_allclose(first["frame_ms"], [0, 500, 1000], atol=1e-3)
    assert second["face_found"].tolist() == [False, True]
    wave = read_wav(media["v.wav"]).wave
    assert_close(first["mel"], mel_chunks(wave[8_000:28_800], 16_000))
    # 16000 samples: 81 steps, 3 chunks.
    assert second["mel"].shape == (3, 128, 32)
    assert [a.dtype for a in (first["faces"], first["face_found"], first["frame_ms"], first["mel"])] == [
        np.uint8,
        np.bool_,
        np.float32,
        np.float32,
    ]


def test_a_gap_in_the_sound_is_reported_where_it_lies(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.mka", [(0.0, tone(0.5)), (1.5, tone(0.5))], "pcm_s16le")

    result = run([(0.0, 0.4), (0.0, 1.0), (1.6, 2.0)], tmp_path / "a.mka", None, sound_in_video=True)

    assert "sound_gap" not in reasons(result).get("v_0", []) + reasons(result).get("v_2", [])
    assert Finding("v_1", "sound_gap", "0.50 s to 1.50 s") in result.findings


def test_both_ways_to_read_a_sound_that_breaks_off_keep_what_comes_before(tmp_path: Path) -> None:
    wave = np.concatenate([tone(5.0), [np.nan], tone(5.0)])
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    utterances = [Utterance(f"v_{i}", "v", start, end, "", (), "v") for i, (start, end) in enumerate([(0, 4), (3, 9)])]
    media = Media(None, tmp_path / "a.wav")

    whole, in_parts = (
        extract(utterances, media, ExtractSettings(), cast(FaceDetector, BrightFaces()), media_arrays, streams)
        for streams in (None, SoundStreamCache())
    )

    for result in (whole, in_parts):
        assert reasons(result)["v_0"] == ["no_video"]
        assert "broken_sound" in reasons(result)["v_1"]
    np.testing.assert_array_equal(whole.arrays["v_1"]["mel"], in_parts.arrays["v_1"]["mel"])


def test_pictures_go_to_the_detector_in_batches(media: dict[str, Path]) -> None:
    detector = BrightFaces()

    run([(0.0, 2.0)], media["v.mp4"], media["v.wav"], detector, frame_interval_ms=100)

    assert detector.batches == [8, 8, 4]


class TwoStripes:
    """Finds a surer, smaller face in the dark third of a picture, and a larger one in the bright rest, which move."""

    def find(self, pictures: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        found = []
        for picture in pictures:
            dark = picture.mean((0, 2)) < 125
            left, right = float(dark.argmax()), float(len(dark) - dark[::-1].argmax())
            rest = (0.0, left) if left > len(dark) - right else (right, float(len(dark)))
            found.append([Face((left, 10.0, right, 30.0), 0.99), Face((rest[0], 0.0, rest[1], 48.0), 0.9)])
        return found


@pytest.mark.parametrize(
    ("choice", "levels"),
    [
        ("most_probable", [50, 50, 50, 50]),
        ("largest", [200, 200, 200, 200]),
        # The picture's middle is at 48; those of the dark and the bright face are at 16 and 64, at 80 and 32 twice, and
        # at 48 and 80.
        ("central", [200, 200, 200, 50]),
        ("previous", [200, 50, 50, 200]),
        # In the last frame the bright face does not overlap the one before, and the dark face does, by 640 of 3072.
        ("tracked", [200, 200, 200, 50]),
    ],
)
def test_of_several_faces_the_chosen_one_is_cut_out(choice: str, levels: list[int], tmp_path: Path) -> None:
    frames = np.full((20, 48, 96, 3), 200, np.uint8)
    for i, left in enumerate((0, 64, 64, 32)):
        frames[5 * i : 5 * i + 5, :, left : left + 32] = 50
    write_frames(tmp_path / "v.mp4", frames)
    utterances = [Utterance("v_0", "v", 0.0, 2.0, "text", (0,) * 6, "v", view="whole")]
    detector = cast(FaceDetector, TwoStripes())

    result = extract(
        utterances, Media(tmp_path / "v.mp4", None), ExtractSettings(face_choice=choice), detector, media_arrays
    )

    middles = result.arrays["v_0"]["faces"][:, 12:36, 12:36].mean((1, 2, 3))
    np.testing.assert_allclose(middles, levels, atol=6)
    assert Finding("v_0", "several_faces", "4 of 4 frames") in result.findings


class AnEyeInTheDark:
    """Finds the whole picture as a face where it is bright, and a tenth of its sides where it is dark."""

    def find(self, pictures: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        return [[Face((0.0, 0.0, 48.0, 48.0) if p.mean() > 100 else (9.0, 9.0, 14.0, 14.0), 0.99)] for p in pictures]


def test_a_face_far_smaller_than_the_one_before_is_left_out_once(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [200] * 5 + [50] * 10 + [200] * 5, size=(48, 48))

    result = run([(0.0, 2.0)], tmp_path / "v.mp4", None, AnEyeInTheDark(), face_choice="tracked")

    # The second small face is a cut to a wider view.
    assert result.arrays["v_0"]["face_found"].tolist() == [True, False, True, True]
    assert Finding("v_0", "some_faces_missing", "1 of 4 frames") in result.findings


def test_a_clip_past_the_end_is_cut_or_dropped(media: dict[str, Path]) -> None:
    result = run([(1.0, 30.0), (2.5, 30.0), (1.0, 2.02)], media["v.mp4"], media["v.wav"])

    assert reasons(result) == {"v_0": ["clipped"], "v_1": ["past_end"]}
    assert list(result.arrays) == ["v_0", "v_2"]
    assert result.arrays["v_0"]["frame_ms"].tolist() == [0, 500]
    # 16000 samples from 1.0 s to the end.
    assert len(result.arrays["v_0"]["mel"]) == 3


def test_less_than_half_a_second_is_kept_and_named(media: dict[str, Path]) -> None:
    result = run([(1.0, 1.4)], media["v.mp4"], media["v.wav"])

    assert reasons(result) == {"v_0": ["too_short"]}
    assert result.findings[0].detail == "0.40 s"
    assert result.arrays["v_0"]["mel"].shape == (2, 128, 32)  # 6400 samples: 33 steps


def test_a_face_in_no_frame_is_named(media: dict[str, Path]) -> None:
    result = run([(0.0, 0.4)], media["v.mp4"], media["long.wav"])

    assert "no_face" in reasons(result)["v_0"]
    assert result.arrays["v_0"]["face_found"].tolist() == [False]


def test_a_missing_or_broken_wav_leaves_the_sound_empty(media: dict[str, Path]) -> None:
    for wav, reason in ((None, "no_wav"), (media["bad"], "broken_wav")):
        result = run([(0.5, 1.5)], media["v.mp4"], wav)

        assert reasons(result) == {"v_0": [reason]}
        assert result.arrays["v_0"]["mel"].shape == (0, 128, 32)
        assert len(result.arrays["v_0"]["faces"]) == 2


def test_the_videos_own_sound_is_used_only_when_allowed(media: dict[str, Path]) -> None:
    without = run([(0.5, 1.5)], media["sound.mp4"], None)
    allowed = run([(0.5, 1.5)], media["sound.mp4"], None, audio_from_video=True)
    silent = run([(0.5, 1.5)], media["v.mp4"], None, audio_from_video=True)

    assert reasons(without) == {"v_0": ["no_wav"]}
    assert reasons(allowed) == {"v_0": ["audio_from_video"]}
    assert allowed.arrays["v_0"]["mel"].shape == (3, 128, 32)
    assert reasons(silent) == {"v_0": ["no_wav"]}
    assert silent.findings[0].detail == "video's track: the video has no sound track"


def test_a_missing_or_broken_video_leaves_the_frames_empty(media: dict[str, Path]) -> None:
    for video, reason in ((None, "no_video"), (media["bad"], "broken_video")):
        result = run([(0.5, 1.5)], video, media["v.wav"])

        assert reasons(result) == {"v_0": [reason]}
        assert result.arrays["v_0"]["faces"].shape == (0, 48, 48, 3)
        assert len(result.arrays["v_0"]["mel"]) == 3


def test_a_video_that_breaks_off_keeps_the_frames_before(media: dict[str, Path], tmp_path: Path) -> None:
    import av

    # The index first, as on the web; then cutting the file's tail loses pictures, not the index.
    whole = tmp_path / "whole.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(20):
            picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = whole.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[: len(content) * 6 // 10])

    result = run([(0.0, 0.5), (0.5, 2.0)], broken, media["v.wav"])

    assert reasons(result) == {"v_1": ["broken_video"]}
    assert len(result.arrays["v_0"]["faces"]) == 1
    assert 1 <= len(result.arrays["v_1"]["faces"]) < 3
    assert result.findings[0].detail.startswith(f"{len(result.arrays['v_1']['faces'])} of 3 frames: ")


def test_nothing_readable_is_dropped(media: dict[str, Path]) -> None:
    for video, wav in ((None, None), (media["bad"], None), (media["bad"], media["bad"])):
        result = run([(0.5, 1.5)], video, wav)

        assert reasons(result)["v_0"][-1] == "no_media"
        assert result.arrays == {}


def test_sound_and_pictures_of_different_length_are_named(media: dict[str, Path]) -> None:
    longer = run([(0.0, 1.0), (2.2, 2.9)], media["v.mp4"], media["long.wav"])
    shorter = run([(0.5, 1.0), (1.2, 1.9), (0.8, 1.9)], media["v.mp4"], media["short.wav"])

    assert reasons(longer)["v_1"] == ["length_mismatch", "no_frames"]
    assert longer.findings[0].detail == "sound 3.00 s, video 2.00 s"
    assert reasons(shorter) == {
        "v_0": ["length_mismatch"],
        "v_1": ["length_mismatch", "no_sound"],
        "v_2": ["length_mismatch", "too_short"],
    }
    assert len(shorter.arrays["v_1"]["mel"]) == 0
    assert len(shorter.arrays["v_1"]["faces"]) == 2


def test_a_clip_may_lie_anywhere_in_a_long_video(tmp_path: Path) -> None:
    # One frame a second: frame i has brightness i // 2.
    write_video(tmp_path / "v.mp4", [i // 2 for i in range(320)], fps=1)
    wave = np.concatenate([np.zeros(16_000 * 300), tone(20.0)])
    write_wav(tmp_path / "v.wav", wave)

    result = run([(301.0, 303.0), (10.0, 11.0)], tmp_path / "v.mp4", tmp_path / "v.wav", frame_interval_ms=1000)

    late, early = result.arrays["v_0"], result.arrays["v_1"]
    np.testing.assert_allclose(late["faces"].mean((1, 2, 3)), [150, 151], atol=2)
    np.testing.assert_allclose(early["faces"].mean((1, 2, 3)), [5], atol=2)
    assert late["mel"].max() > 1 > early["mel"].max()


def test_speakers_on_two_sides_have_their_own_picture_and_channel(tmp_path: Path) -> None:
    frame = np.zeros((10, 240, 640, 3), np.uint8)
    frame[:, :, :320], frame[:, :, 320:] = 60, 200
    write_frames(tmp_path / "v.avi", frame)
    sound = np.stack([np.zeros(16_000), tone(1.0)], axis=1)
    write_wav(tmp_path / "v.wav", sound)
    left = Utterance("l", "v", 0.0, 0.9, "text", (0,) * 6, "L", view="left", channel=0)
    right = Utterance("r", "v", 0.0, 0.9, "text", (0,) * 6, "R", view="right", channel=1)
    detector = cast(FaceDetector, BrightFaces())

    result = extract(
        [left, right], Media(tmp_path / "v.avi", tmp_path / "v.wav"), ExtractSettings(), detector, media_arrays
    )

    np.testing.assert_allclose(result.arrays["l"]["faces"].mean((1, 2, 3)), [60, 60], atol=2)
    np.testing.assert_allclose(result.arrays["r"]["faces"].mean((1, 2, 3)), [200, 200], atol=2)
    assert result.arrays["l"]["mel"].max() < 1e-6 < 1 < result.arrays["r"]["mel"].max()
    assert result.findings == []


def test_a_sound_without_the_speakers_channel_is_named(media: dict[str, Path]) -> None:
    utterance = Utterance("r", "v", 0.5, 1.5, "text", (0,) * 6, "R", channel=1)
    files = Media(media["v.mp4"], media["v.wav"])

    result = extract([utterance], files, ExtractSettings(), cast(FaceDetector, BrightFaces()), media_arrays)

    assert [(f.reason, f.detail) for f in result.findings] == [("no_channel", "channel 1 of 1, counted from 0")]
    assert result.arrays["r"]["mel"].max() > 1


def test_where_the_sound_is_kept_in_the_video_a_missing_wav_is_no_news(media: dict[str, Path]) -> None:
    result = run([(0.6, 1.6)], media["sound.mp4"], None, sound_in_video=True)

    assert result.findings == []
    assert result.arrays["v_0"]["mel"].max() > 1


def test_all_there_is_may_be_asked_for(media: dict[str, Path]) -> None:
    result = run([(0.6, float("inf"))], media["v.mp4"], media["v.wav"])

    assert result.findings == []
    np.testing.assert_allclose(result.arrays["v_0"]["frame_ms"], [0, 500, 1000], atol=1e-3)

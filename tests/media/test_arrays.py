"""Tests the stored arrays of each record kind."""

import dataclasses

import numpy as np
import pytest

from mme2e_jax.media.arrays import SPEECH_RATE, TO_ARRAYS, Footage, clip_arrays, speech_arrays
from mme2e_jax.media.features.audio import audio_features
from mme2e_jax.media.features.video import video_features
from mme2e_jax.media.mel import mel_chunks
from tests.helpers.media import tone

RNG = np.random.default_rng(0)
FOOTAGE = Footage(
    faces=RNG.integers(0, 256, (3, 48, 48, 3), dtype=np.uint8),
    face_found=np.array([True, False, True]),
    frame_ms=np.array([0, 500, 1000], np.float32),
    boxes=np.array([[0.1, 0.2, 0.3, 0.4], [np.nan] * 4, [0, 0, 1, 1]], np.float32),
    wave=tone(1.0).astype(np.float32),
    sample_rate=16_000,
)
NOTHING = Footage(
    faces=np.zeros((0, 48, 48, 3), np.uint8),
    face_found=np.zeros(0, bool),
    frame_ms=np.zeros(0, np.float32),
    boxes=np.zeros((0, 4), np.float32),
    wave=np.zeros(0, np.float32),
    sample_rate=16_000,
)


def test_media_are_faces_and_mel_chunks() -> None:
    arrays = TO_ARRAYS["media"](FOOTAGE)

    assert set(arrays) == {"faces", "face_found", "frame_ms", "mel"}
    np.testing.assert_array_equal(arrays["faces"], FOOTAGE.faces)
    np.testing.assert_array_equal(arrays["face_found"], FOOTAGE.face_found)
    np.testing.assert_array_equal(arrays["frame_ms"], FOOTAGE.frame_ms)
    np.testing.assert_array_equal(arrays["mel"], mel_chunks(FOOTAGE.wave, 16_000))


def test_prediction_also_gets_the_boxes_of_the_faces() -> None:
    arrays = clip_arrays(FOOTAGE)

    assert set(arrays) == {*TO_ARRAYS["media"](FOOTAGE), "boxes"}
    np.testing.assert_array_equal(arrays["boxes"], FOOTAGE.boxes)


def test_features_are_rows_of_sound_and_of_faces() -> None:
    arrays = TO_ARRAYS["features"](FOOTAGE)

    assert set(arrays) == {"audio", "video"}
    np.testing.assert_array_equal(arrays["audio"], audio_features(FOOTAGE.wave, 16_000))
    np.testing.assert_array_equal(arrays["video"], video_features(FOOTAGE.faces, FOOTAGE.face_found))


def test_nothing_is_arrays_of_no_rows() -> None:
    arrays = TO_ARRAYS["features"](NOTHING)

    assert (arrays["audio"].shape, arrays["video"].shape) == ((0, 144), (0, 35))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_speech_recognition_gets_the_same_sound_at_its_rate(rate: int) -> None:
    def sine(at: int) -> np.ndarray:
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(at) / at).astype(np.float32)

    wave = speech_arrays(dataclasses.replace(FOOTAGE, wave=sine(rate), sample_rate=rate))["wave"]

    assert wave.dtype == np.float32
    assert abs(len(wave) - SPEECH_RATE) <= 1
    # The filter has too few samples at the ends.
    np.testing.assert_allclose(wave[200:-200], sine(SPEECH_RATE)[200 : len(wave) - 200], atol=2e-3)
    assert len(speech_arrays(dataclasses.replace(NOTHING, sample_rate=rate))["wave"]) == 0

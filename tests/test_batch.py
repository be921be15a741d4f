"""Frames without a face and silent sound are absent; quiet sound is not."""

import numpy as np

from mme2e_jax.batch import present_media
from mme2e_jax.media.mel import mel_power


def test_only_crops_with_a_face_are_present() -> None:
    faces = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((48, 48, 3), np.uint8)

    found, _ = present_media(faces, np.array([True, False, True]), np.zeros((0, 128, 32), np.float32))

    assert found[:, 0, 0, 0].tolist() == [0, 2]


def test_sound_of_one_step_of_16_bits_is_present_and_less_is_silent() -> None:
    def present(amplitude: float) -> int:
        wave = amplitude * np.random.default_rng(0).choice([-1.0, 1.0], 6400)
        mel = mel_power(wave, 16_000)[None, :, :32]
        return len(present_media(np.zeros((0, 48, 48, 3), np.uint8), np.zeros(0, bool), mel)[1])

    assert present(1 / 32768) == 1
    assert present(0.01 / 32768) == present(0.0) == 0

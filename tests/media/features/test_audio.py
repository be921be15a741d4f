"""Tests the layout of the audio features."""

import numpy as np
import pytest
from scipy import stats

from mme2e_jax.media.features.acoustics import DESCRIPTORS, measure
from mme2e_jax.media.features.audio import audio_features
from tests.helpers.closeness import assert_close
from tests.helpers.media import tone

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def columns(name: str) -> slice:
    start = 34 + 6 * list(DESCRIPTORS).index(name)
    return slice(start, start + 6)


def babble() -> np.ndarray:
    """A rising tone and noise, each swelling at its own rate, so that all descriptors move: float32, one second."""
    seconds = np.arange(16_000) / 16_000
    rising = 0.3 * np.sin(2 * np.pi * (200 + 100 * seconds) * seconds) * (1 + np.sin(2 * np.pi * 5 * seconds)) / 2
    return (rising + 0.3 * NOISE * (1 + np.sin(2 * np.pi * 7 * seconds))).astype(np.float32)


def test_the_layout_is_bands_cepstra_descriptors_and_fill() -> None:
    wave = babble()
    energies, cepstra, descriptors = measure(wave)
    rows = audio_features(wave, 16_000)

    assert rows.shape == (3, 144)
    assert rows.dtype == np.float32
    assert len(DESCRIPTORS) == 18
    for row, frames in zip(rows, (slice(0, 40), slice(40, 80), slice(80, 100)), strict=True):
        # Values of both signs: a mean near zero has the rounding of what it sums.
        assert_close(row[:22], energies[:, frames].mean(1))
        assert_close(row[22:34], cepstra[:, frames].mean(1))
        statistics = row[34:142].reshape(18, 6)
        tracks = descriptors[:, frames]
        assert_close(statistics[:, 0], tracks.mean(1))
        assert_close(statistics[:, 1], tracks.std(1))
        np.testing.assert_allclose(statistics[:, 4], tracks.max(1), rtol=1e-5)
        np.testing.assert_allclose(statistics[:, 5], tracks.min(1), rtol=1e-5)
        varied = tracks.std(1) > 0.2
        assert varied.sum() > 15
        np.testing.assert_allclose(statistics[varied, 2], stats.skew(tracks[varied], axis=1), atol=0.01)
        kurtosis = stats.kurtosis(tracks[varied], axis=1, fisher=False)
        np.testing.assert_allclose(statistics[varied, 3], np.log2(kurtosis / 3), atol=0.01)
        assert (row[142:] == 0).all()


def test_a_steady_tone_has_neither_spread_nor_skewness() -> None:
    row = audio_features(tone(1.2, 440), 16_000)[1]

    mean, deviation, skewness, kurtosis, highest, lowest = row[columns("pitch")]

    # Half octaves above 200 Hz.
    assert mean == pytest.approx(2 * np.log2(2.2), abs=0.01)
    assert (highest, lowest) == pytest.approx((mean, mean), abs=0.01)
    assert (deviation, skewness, kurtosis) == pytest.approx((0, 0, 0), abs=0.05)


def test_every_row_tells_of_its_own_time() -> None:
    rows = audio_features(np.concatenate([tone(0.4, 250), tone(0.4, 500), np.zeros(6_400)]), 16_000)

    levels, pitches = rows[:, columns("level")], rows[:, columns("pitch")]

    # Half octaves above 200 Hz. The three frames in the middle of the change hear both tones.
    assert pitches[0, 0] == pytest.approx(2 * np.log2(1.25), abs=0.2)
    assert pitches[1, 0] == pytest.approx(2 * np.log2(2.5), abs=0.2)
    # Full scale is 2 (log10 of the mean square 3 above the centre, in units of 1.5), silence -4.
    assert levels[0, 4] == pytest.approx((np.log10(0.125) + 3) / 1.5, abs=0.01)
    assert levels[2, 5] == pytest.approx(-4)


@pytest.mark.parametrize(("samples", "rows"), [(0, 0), (1, 1), (6_400, 1), (6_401, 2), (12_800, 2)])
def test_a_row_for_every_400_ms_begun(samples: int, rows: int) -> None:
    assert audio_features(NOISE[:samples], 16_000).shape == (rows, 144)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_give_the_same_features(rate: int) -> None:
    seconds = np.arange(rate) / rate
    row = audio_features(0.5 * np.sin(2 * np.pi * 440 * seconds), rate)[1]
    expected = audio_features(tone(1.0, 440), 16_000)[1]

    assert np.argmax(row[:22]) == np.argmax(expected[:22]) == 4
    for name in ("level", "pitch", "crest"):
        np.testing.assert_allclose(row[columns(name)][0], expected[columns(name)][0], atol=0.02)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(16_000),
        np.zeros(1),
        np.ones(1),
        np.ones(9_000),
        np.eye(1, 16_000, 8_000)[0],
        np.full(8_000, 1e-30),
        np.sign(NOISE),
        np.cos(np.pi * np.arange(8_000)),
        1e12 * np.sign(NOISE),
    ],
    ids=[
        "silence",
        "one silent sample",
        "one sample",
        "constant",
        "click",
        "denormal",
        "clipped",
        "fastest",
        "loudest",
    ],
)
def test_every_sound_has_finite_features(wave: np.ndarray) -> None:
    for rate in (8_000, 16_000, 44_100):
        rows = audio_features(wave, rate)

        assert len(rows) > 0
        assert np.isfinite(rows).all()
        assert np.abs(rows).max() < 25


def test_the_wave_is_left_as_it_is() -> None:
    wave = NOISE.copy()

    audio_features(wave, 16_000)

    np.testing.assert_array_equal(wave, NOISE)

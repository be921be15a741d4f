"""Tests acoustic measurements by hand for tones and silence."""

import numpy as np
import pytest

from mme2e_jax.media.features.acoustics import DESCRIPTORS, measure
from tests.helpers.media import tone


def bands(wave: np.ndarray) -> np.ndarray:
    """Log10 of the critical bands' energies in the middle of the sound, `[22]`."""
    energies = measure(wave.astype(np.float32))[0]
    return 1.5 * energies[:, energies.shape[1] // 2] - 4


def track(wave: np.ndarray, name: str) -> np.ndarray:
    """A descriptor in its own unit, `[f]`."""
    centre, unit = DESCRIPTORS[name]
    return unit * measure(wave.astype(np.float32))[2][list(DESCRIPTORS).index(name)] + centre


def middle(wave: np.ndarray, name: str) -> float:
    values = track(wave, name)
    return float(values[len(values) // 2])


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * 16_000))


@pytest.mark.parametrize(
    ("hertz", "band"), [(60, 0), (150, 1), (450, 4), (1000, 8), (4000, 17), (7000, 20), (7900, 21)]
)
def test_a_tone_lies_in_the_critical_band_around_its_frequency(hertz: float, band: int) -> None:
    # Zwicker's bands: 20-100, 100-200, 400-510, 920-1080, 3700-4400, 6400-7700 and 7700-9500 Hz.
    assert np.argmax(bands(tone(0.5, hertz))) == band


def test_a_band_holds_the_energy_of_its_tone() -> None:
    # The window, a Hann of 400 samples, has 150 for the sum of its squares. By Parseval half of the
    # 512 bins hold 512 / 2 * 150 * 0.5^2 / 2 = 4800; a sine of full scale has 100^2 in its own bin.
    assert bands(tone(0.5, 1000))[8] == pytest.approx(np.log10(0.48), abs=0.01)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("level", np.log10(0.125), 0.01),  # half of 0.5^2
        ("pitch", np.log2(440 / 200), 0.005),
        ("periodicity", 1.0, 0.01),
        ("zero crossings", 2 * 440 / 16_000, 0.003),
        ("crest", 0.5, 0.01),  # log2 of the square root of 2
        ("centroid", np.log2(0.44), 0.2),
        ("rolloff", np.log2(0.4375), 0.15),  # bin 14, of 31.25 Hz
        ("level change", 0.0, 0.01),
        ("pitch change", 0.0, 0.01),
        ("flux", 0.0, 0.01),
    ],
)
def test_descriptors_of_a_tone(name: str, expected: float, tolerance: float) -> None:
    assert middle(tone(0.5, 440), name) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("hertz", [70, 110, 233, 580])
def test_pitch_covers_voices(hertz: float) -> None:
    # With overtones, as a voice has.
    voice = tone(0.5, hertz) + 0.7 * tone(0.5, 2 * hertz) + 0.5 * tone(0.5, 3 * hertz)

    assert middle(voice, "pitch") == pytest.approx(np.log2(hertz / 200), abs=0.02)


def test_pitch_runs_straight_between_voiced_frames() -> None:
    wave = np.concatenate([tone(0.3, 200), silence(0.4), tone(0.3, 400)])

    pitch = track(wave, "pitch")

    np.testing.assert_allclose(pitch[[10, 50, 90]], [0, 0.5, 1], atol=0.05)
    assert (np.diff(pitch[40:60]) > 0).all()


def test_noise_is_flat_and_has_no_period() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8_000)

    assert abs(middle(noise, "periodicity")) < 0.3
    assert -0.5 < middle(noise, "flatness") < 0
    assert middle(tone(0.5), "flatness") < -2
    assert middle(noise, "level") == pytest.approx(-2, abs=0.15)


def test_high_sounds_raise_the_alpha_ratio_and_lower_the_hammarberg_index() -> None:
    # 20 dB between the parts: a factor of 100 in energy.
    low = tone(0.5, 500) + 0.1 * tone(0.5, 3000)
    high = 0.1 * tone(0.5, 500) + tone(0.5, 3000)

    assert middle(low, "alpha ratio") == pytest.approx(-2, abs=0.1)
    assert middle(high, "alpha ratio") == pytest.approx(2, abs=0.1)
    assert middle(low, "hammarberg index") == pytest.approx(2, abs=0.1)
    assert middle(high, "hammarberg index") == pytest.approx(-2, abs=0.1)


def test_silence_is_the_faintest_noise() -> None:
    energies, cepstra, descriptors = measure(np.zeros(8_000, np.float32))

    assert np.isfinite(descriptors).all()
    np.testing.assert_allclose(energies, (-9 + 4) / 1.5, rtol=1e-5)
    np.testing.assert_allclose(cepstra, 0, atol=1e-3)
    assert middle(silence(0.5), "level") == pytest.approx(-9)
    assert middle(silence(0.5), "flatness") == pytest.approx(0, abs=1e-4)
    # Bins of 31.25 Hz: 128 from 1 to 5 kHz, 30 from 50 Hz to 1 kHz.
    assert middle(silence(0.5), "alpha ratio") == pytest.approx(np.log10(128 / 30))
    assert middle(silence(0.5), "pitch") == 0


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (1_600, 10)])
def test_a_frame_for_every_10_ms_begun(samples: int, frames: int) -> None:
    energies, cepstra, descriptors = measure(np.ones(samples, np.float32))

    assert (energies.shape, cepstra.shape, descriptors.shape) == ((22, frames), (12, frames), (18, frames))


def test_louder_by_20_db_is_the_same_sound() -> None:
    voice = tone(0.5, 150) + 0.5 * tone(0.5, 900) + 0.2 * tone(0.5, 2500)

    loud, faint = (measure((factor * voice).astype(np.float32)) for factor in (0.5, 0.05))

    steady = slice(10, 40)
    np.testing.assert_allclose(loud[0][[1, 7, 14], steady] - faint[0][[1, 7, 14], steady], 2 / 1.5, atol=0.01)
    for name in ("pitch", "zero crossings", "alpha ratio", "hammarberg index"):
        row = list(DESCRIPTORS).index(name)
        np.testing.assert_allclose(loud[2][row, steady], faint[2][row, steady], atol=0.02)

"""Tests mel chunks against torchaudio's (tests/arrays/mel.npz)."""

from pathlib import Path

import numpy as np
import pytest

from mme2e_jax.media.mel import mel_chunks, mel_power, window_length

ORACLE = Path(__file__).parent.parent / "arrays" / "mel.npz"


# torchaudio builds its filters in float32. At 8 kHz they are so narrow (a few Hz between the edges
# of the lowest) that this costs four digits; the power spectrum below them agrees as elsewhere.
@pytest.mark.parametrize(("rate", "tolerance"), [("16k", 1e-4), ("44k", 1e-4), ("8k", 4e-4)])
def test_chunks_equal_the_paper_code(rate: str, tolerance: float) -> None:
    with np.load(ORACLE) as oracle:
        wave, sample_rate = oracle[f"{rate}/wave"][0], int(oracle[f"{rate}/sr"])
        expected = oracle[f"{rate}/pieces"][:, 0]

    chunks = mel_chunks(wave, sample_rate)

    assert chunks.shape == expected.shape
    assert chunks.dtype == np.float32
    # The oracle is computed in float32: bands a million times below the loudest are its rounding.
    np.testing.assert_allclose(chunks, expected, rtol=tolerance, atol=1e-6 * expected.max())


def test_window_scales_with_the_sampling_rate() -> None:
    assert [window_length(rate) for rate in (8_000, 16_000, 44_100)] == [200, 400, 1102]


def test_a_tone_lies_in_the_band_around_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)

    mel = mel_power(tone, 16_000)

    # HTK: mel(f) = 2595 log10(1 + f / 700). 130 edges from 0 to mel(8000) = 2840.02 are 22.0157
    # mel apart; mel(1000) = 999.99 is edge 45.42, nearest the centre of band 44 (edge 45).
    assert np.argmax(mel[:, 40]) == 44
    # A periodic Hann window of 400 sums to 200; half of that squared is the tone's own FFT bin.
    assert 0.2 * 100**2 < mel[:, 40].sum() < 2.0 * 100**2


@pytest.mark.parametrize(("samples", "chunks"), [(0, 0), (1, 1), (200, 1), (201, 1), (6_399, 1), (6_400, 2)])
def test_number_of_chunks_down_to_single_samples(samples: int, chunks: int) -> None:
    # 1 + x // 200 time steps: 32 up to 6399 samples, 33 from 6400.
    result = mel_chunks(np.ones(samples, np.float32), 16_000)

    assert result.shape == (chunks, 128, 32)
    assert np.isfinite(result).all()


def test_the_last_chunk_is_padded_with_zeros_on_the_right() -> None:
    wave = np.random.default_rng(0).normal(size=8_000).astype(np.float32)

    chunks = mel_chunks(wave, 16_000)

    # 41 time steps: 32 in the first chunk, 9 in the second.
    assert (chunks[1, 64:, :9] > 0).all()
    assert (chunks[1, :, 9:] == 0).all()

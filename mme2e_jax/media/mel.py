"""Computes mel power chunks of a waveform, as in the paper.

The paper's code uses torchaudio's default mel spectrogram: power (no logarithm), 128 HTK bands from 0 to half the
sampling rate without area normalisation, periodic Hann window of 25 ms, hop of half a window, centred windows with
reflection padding (REFERENCE: "One utterance"). librosa computes the same numbers.

Axes: `x` samples, `m` mel bands (128), `c` time steps of a chunk (32), `s` chunks.
"""

import functools
import warnings

import librosa
import numpy as np

from mme2e_jax.constants import CHUNK_FRAMES, MEL_BANDS

REFERENCE_RATE = 16_000
REFERENCE_WINDOW = 400
POWER = 2.0


def window_length(sample_rate: int) -> int:
    """Samples of an analysis window, also the FFT length: 400 at 16 kHz, and in proportion at other rates."""
    return int(REFERENCE_WINDOW * sample_rate / REFERENCE_RATE)


def mel_power(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Computes the mel power spectrogram of a wave, float `[x]`, full scale [-1, 1].

    A wave of up to half a window, too short for reflection padding, is first padded with silence on the right.

    Returns:
      float32 `[m, 1 + x // hop]` with a hop of half a window; `[m, 0]` for an empty wave.
    """
    if wave.size == 0:
        return np.zeros((MEL_BANDS, 0), np.float32)
    window = window_length(sample_rate)
    shortfall = window // 2 + 1 - wave.size
    if shortfall > 0:
        wave = np.pad(wave, (0, shortfall))
    with warnings.catch_warnings():
        # Reflection padding fills sounds shorter than a window.
        warnings.filterwarnings("ignore", message="n_fft=.* is too large for input signal")
        spectrum = librosa.stft(
            wave.astype(np.float32, copy=False),
            n_fft=window,
            win_length=window,
            hop_length=window // 2,
            window="hann",
            center=True,
            pad_mode="reflect",
        )
    return _filters(sample_rate) @ np.abs(spectrum) ** POWER


@functools.cache
def _filters(sample_rate: int) -> np.ndarray:
    """The weights of the mel bands, float32 `[m, 1 + window // 2]`; computing them takes longer than applying them."""
    with warnings.catch_warnings():
        # Below about 20 kHz some of the lowest bands lie between two FFT bins and stay zero, as in the paper's code.
        warnings.filterwarnings("ignore", message="Empty filters detected")
        return librosa.filters.mel(
            sr=sample_rate,
            n_fft=window_length(sample_rate),
            n_mels=MEL_BANDS,
            fmin=0.0,
            fmax=sample_rate / 2,
            htk=True,
            norm=None,
        )


def mel_chunks(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Splits the mel power spectrogram of a wave (see `mel_power`) into chunks of 32 time steps.

    Returns:
      float32 `[s, m, c]`; the last chunk is zero-padded on the right. `s` is 0 for an empty wave.
    """
    mel = mel_power(wave, sample_rate)
    count = -(-mel.shape[1] // CHUNK_FRAMES)
    padded = np.pad(mel, ((0, 0), (0, count * CHUNK_FRAMES - mel.shape[1])))
    return np.ascontiguousarray(padded.reshape(MEL_BANDS, count, CHUNK_FRAMES).transpose(1, 0, 2))

"""Computes mel power chunks of a waveform, as in the paper.

The paper's code uses torchaudio's default mel spectrogram: power (no logarithm), 128 HTK bands from 0 to half the
sampling rate without area normalisation, periodic Hann window of 25 ms, hop of half a window, centred windows with
reflection padding (REFERENCE: "One utterance"). librosa computes the same numbers, but compiles 25 CPU seconds of
unrelated functions when it is first imported, in every process that finds no cache of them.

Axes: `x` samples, `m` mel bands (128), `c` time steps of a chunk (32), `s` chunks.
"""

import functools

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

    It is float32 `[m, 1 + x // hop]` with a hop of half a window; `[m, 0]` for an empty wave. A wave of up to half a
    window, too short for reflection padding, is first padded with silence on the right.
    """
    if wave.size == 0:
        return np.zeros((MEL_BANDS, 0), np.float32)
    window = window_length(sample_rate)
    shortfall = window // 2 + 1 - wave.size
    if shortfall > 0:
        wave = np.pad(wave, (0, shortfall))
    hop = window // 2
    # Reflection repeats itself where the wave is shorter than its padding.
    padded = np.pad(wave.astype(np.float32, copy=False), hop, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    spectrum = np.fft.rfft(frames * hann).astype(np.complex64)
    return _filters(sample_rate) @ (np.abs(spectrum) ** POWER).T


@functools.cache
def _filters(sample_rate: int) -> np.ndarray:
    """The weights of the mel bands, float32 `[m, 1 + window // 2]`: triangles over neighbouring band edges.

    Below about 20 kHz some of the lowest bands lie between two FFT bins and stay zero, as in the paper's code.
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, MEL_BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(window_length(sample_rate), 1 / sample_rate)
    rise = (bins - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]
    return np.maximum(0, np.minimum(rise[:-2], 1 - rise[1:-1])).astype(np.float32)


def mel_chunks(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Splits mel power into chunks, float32 `[s, m, c]`, the last one zero-padded; `s` is 0 for an empty wave."""
    mel = mel_power(wave, sample_rate)
    count = -(-mel.shape[1] // CHUNK_FRAMES)
    padded = np.pad(mel, ((0, 0), (0, count * CHUNK_FRAMES - mel.shape[1])))
    return np.ascontiguousarray(padded.reshape(MEL_BANDS, count, CHUNK_FRAMES).transpose(1, 0, 2))

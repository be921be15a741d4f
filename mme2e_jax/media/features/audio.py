"""Computes audio features: one row of 144 values for 0.4 s.

The layout is that of the features which the paper's code reads for IEMOCAP, so that its "audio feature types" (choices
of columns) have the same meaning:

    0-21     energies of 22 critical bands, mean over the row
    22-33    mel-frequency cepstral coefficients 1-12, mean over the row
    34-141   six statistics (`STATISTICS`) of each of 18 descriptors (`acoustics.DESCRIPTORS`) over the row
    142-143  zeros, which make the width divisible by the number of attention heads

The paper's descriptors are posteriors of phonological classes; here they are level, pitch and the spectrum's shape.

Axes: `x` samples, `c` columns, `f` frames of 10 ms, `s` rows.
"""

from typing import Any

import librosa
import numpy as np

from mme2e_jax.media.features.acoustics import BANDS, CEPSTRA, DESCRIPTORS, HOP, RATE, measure
from mme2e_jax.media.features.librosa_cache import load_librosa

SIZE = 144
ROW_SAMPLES = 6_400
STATISTICS = ("mean", "standard deviation", "skewness", "log2 of kurtosis / 3", "maximum", "minimum")
_ROW_FRAMES = ROW_SAMPLES // HOP
# Deviations far below this are noise (values are scaled to about 1): a steady tone is not skewed.
_STEADY = 0.01

DESCRIPTION: dict[str, Any] = {
    "row_ms": 1000 * ROW_SAMPLES // RATE,
    "frame_ms": 1000 * HOP // RATE,
    "columns": {
        "band energies": [0, BANDS],
        "cepstral coefficients": [BANDS, BANDS + CEPSTRA],
        "descriptors": [BANDS + CEPSTRA, BANDS + CEPSTRA + len(DESCRIPTORS) * len(STATISTICS)],
    },
    "descriptors": list(DESCRIPTORS),
    "statistics": list(STATISTICS),
}


def audio_features(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """The features of a sound, finite float32 `[s, 144]` with s = ceil(seconds / 0.4).

    `wave` is finite float `[x]`, full scale [-1, 1]; other sample rates than 16 kHz are resampled first.
    """
    if not len(wave):
        return np.zeros((0, SIZE), np.float32)
    wave = wave.astype(np.float32, copy=False)
    if sample_rate != RATE:
        load_librosa()
        wave = librosa.resample(wave, orig_sr=sample_rate, target_sr=RATE)
    bands, cepstra, descriptors = measure(wave)
    starts = range(0, bands.shape[1], _ROW_FRAMES)
    rows = np.zeros((len(starts), SIZE), np.float32)
    for row, start in zip(rows, starts, strict=True):
        frames = slice(start, start + _ROW_FRAMES)
        statistics = _statistics(descriptors[:, frames]).reshape(-1)
        filled = np.concatenate([bands[:, frames].mean(1), cepstra[:, frames].mean(1), statistics])
        row[: len(filled)] = filled
    return rows


def _statistics(tracks: np.ndarray) -> np.ndarray:
    """`STATISTICS` of each track: from `[c, f]` to `[c, 6]`. A steady track has skewness and kurtosis 0.

    Kurtosis is the fourth moment over the squared variance, 3 for a normal distribution. The logarithm limits the
    effect of outliers: one among 40 frames raises kurtosis to 38.
    """
    mean = tracks.mean(1)
    deviation = tracks - mean[:, None]
    second, third, fourth = ((deviation**power).mean(1) for power in (2, 3, 4))
    skewness = third / (second + _STEADY**2) ** 1.5
    kurtosis = np.log2((fourth + 3 * _STEADY**4) / (3 * (second**2 + _STEADY**4)))
    return np.stack([mean, np.sqrt(second), skewness, kurtosis, tracks.max(1), tracks.min(1)], axis=1)

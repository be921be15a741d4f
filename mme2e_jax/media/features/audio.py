"""A sound as rows of 144 numbers, one row for 0.4 s.

The layout is that of the features which the paper's code reads for IEMOCAP, so that its "audio
feature types" (choices of columns) mean here what they mean there:

    0-21     energies of 22 critical bands, their mean over the row
    22-33    mel-frequency cepstral coefficients 1-12, their mean over the row
    34-141   18 descriptors (`acoustics.DESCRIPTORS`) in six statistics (`STATISTICS`) over the row,
             descriptor by descriptor
    142-143  zeros, which make the width divisible by a number of heads

The paper's descriptors are posteriors of phonological classes, from a trained network; here they
are level, pitch and the shape of the spectrum.

Axes: `x` samples, `c` columns, `f` frames of 10 ms, `s` rows.
"""

from typing import Any

import librosa
import numpy as np

from mme2e_jax.media.features.acoustics import BANDS, CEPSTRA, DESCRIPTORS, HOP, RATE, measure

SIZE = 144
ROW_SAMPLES = 6_400
STATISTICS = ("mean", "standard deviation", "skewness", "log2 of kurtosis / 3", "maximum", "minimum")
_ROW_FRAMES = ROW_SAMPLES // HOP
# Deviations much below this, of numbers scaled to about 1, mean nothing: a steady tone is not skewed.
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
    """Computes the features of a sound.

    Args:
      wave: finite float `[x]`, full scale [-1, 1].
      sample_rate: in Hz; sounds of other rates than 16 kHz are converted to it first.

    Returns:
      finite float32 `[s, 144]`, one row for every 0.4 s that begin; `s` is 0 for an empty wave.
    """
    if not len(wave):
        return np.zeros((0, SIZE), np.float32)
    wave = wave.astype(np.float32, copy=False)
    if sample_rate != RATE:
        wave = librosa.resample(wave, orig_sr=sample_rate, target_sr=RATE)
    bands, cepstra, descriptors = measure(wave)
    starts = range(0, bands.shape[1], _ROW_FRAMES)
    rows = np.zeros((len(starts), SIZE), np.float32)
    for row, start in zip(rows, starts, strict=True):
        frames = slice(start, start + _ROW_FRAMES)
        columns = (
            bands[:, frames].mean(1),
            cepstra[:, frames].mean(1),
            _statistics(descriptors[:, frames]).reshape(-1),
        )
        filled = np.concatenate(columns)
        row[: len(filled)] = filled
    return rows


def _statistics(tracks: np.ndarray) -> np.ndarray:
    """`STATISTICS` of each track: from `[c, f]` to `[c, 6]`. A steady track has skewness and kurtosis 0.

    Kurtosis is the fourth moment over the squared variance, 3 for normally distributed values. Its
    logarithm is taken because one odd frame of 40 raises it to 38.
    """
    mean = tracks.mean(1)
    deviation = tracks - mean[:, None]
    second, third, fourth = ((deviation**power).mean(1) for power in (2, 3, 4))
    skewness = third / (second + _STEADY**2) ** 1.5
    kurtosis = np.log2((fourth + 3 * _STEADY**4) / (3 * (second**2 + _STEADY**4)))
    return np.stack([mean, np.sqrt(second), skewness, kurtosis, tracks.max(1), tracks.min(1)], axis=1)

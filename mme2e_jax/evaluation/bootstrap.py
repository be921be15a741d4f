"""Percentile bootstrap intervals of scores, over the utterances of a split.

docs/reading_the_report.md explains what they mean and which resamples count. A label that is constant over the whole
split counts as it does in the reported mean (`metrics.compute`: 0 where undefined, left out of the mean AUC).

Axis legend: `r` resamples, `n` utterances, `l` labels, `v` distinct values of a score.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

LEVEL = 0.95
RESAMPLES = 1000
SCORES = ("f1", "auc", "accuracy", "weighted_accuracy")  # a subset of the scores of `metrics.compute`
_BLOCK = 2_000_000  # counts per block of resamples, which bounds the memory

Scores = Float[np.ndarray, "n l"]
Labels = Bool[np.ndarray, "n l"]


def intervals(score: Scores, truth: Labels, predicted: Labels, label_names: Sequence[str], seed: int) -> dict[str, Any]:
    """Intervals of scores, per label and of their mean, as JSON values; deterministic, AUC by the order of scores only.

    Each has `low`, `high` (None if no resample defines the score) and `undefined` (resamples that do not define it).
    """
    resampled = _resample(score, truth, predicted, seed)
    mean = {name: _interval(values) for name, values in _means(resampled, truth).items()}
    per_label = {
        label: {name: _interval(np.where(r.exists[:, i], r.value[:, i], np.nan)) for name, r in resampled.items()}
        for i, label in enumerate(label_names)
    }
    return {"mean": mean, "per_label": per_label}


def mean_resamples(score: Scores, truth: Labels, predicted: Labels, seed: int) -> dict[str, Float[np.ndarray, "r"]]:
    """The mean scores of each resample, NaN where undefined, for `differences`; equal seeds draw equally."""
    return _means(_resample(score, truth, predicted, seed), truth)


def differences(
    means: Mapping[str, Float[np.ndarray, "r"]], others: Mapping[str, Float[np.ndarray, "r"]]
) -> dict[str, Any]:
    """Intervals, as of `intervals`, of the mean scores of some predictions minus those of others, resample by resample.

    Both are `mean_resamples` of the same utterances with one seed. What makes utterances hard for both leaves the
    difference unchanged, so that these intervals are narrower than those of the two scores suggest.
    """
    return {name: _interval(means[name] - others[name]) for name in SCORES}


class Resampled(NamedTuple):
    """One score of every resample."""

    value: Float[np.ndarray, "r l"]  # where undefined 0, as in `metrics.compute`; NaN for AUC
    exists: Bool[np.ndarray, "r l"]


def score_resamples(
    score: Scores, truth: Labels, predicted: Labels, times: Float[np.ndarray, "r n"]
) -> dict[str, Resampled]:
    """SCORES of resamples; `times` counts how often each resample holds each utterance."""
    n = times.shape[1]
    positive, claimed, both = (times @ values.astype(float) for values in (truth, predicted, truth & predicted))
    negative = n - positive
    neither = negative - (claimed - both)
    varied = (positive > 0) & (negative > 0)
    auc = np.stack([_auc(s, t, times) for s, t in zip(score.T, truth.T, strict=True)], axis=1)
    return {
        "f1": Resampled(_ratio(2 * both, positive + claimed), positive + claimed > 0),
        "auc": Resampled(auc, varied),
        "accuracy": Resampled((both + neither) / n, np.ones_like(varied)),
        "weighted_accuracy": Resampled((_ratio(both, positive) + _ratio(neither, negative)) / 2, varied),
    }


def _resample(score, truth, predicted, seed: int) -> dict[str, "Resampled"]:
    parts = list(_resampled_blocks(score, truth, predicted, np.random.default_rng(seed)))
    return {name: Resampled(*(np.concatenate([part[name][i] for part in parts]) for i in (0, 1))) for name in SCORES}


def _means(resampled: Mapping[str, "Resampled"], truth: Labels) -> dict[str, Float[np.ndarray, "r"]]:
    constant = truth.all(0) | ~truth.any(0)
    return {name: _mean(values, exists | constant) for name, (values, exists) in resampled.items()}


def _resampled_blocks(score, truth, predicted, rng: np.random.Generator) -> Iterator[Mapping[str, Resampled]]:
    n, left = len(score), RESAMPLES
    while left:
        block = min(left, max(1, _BLOCK // n))
        drawn = rng.integers(n, size=(block, n)) + n * np.arange(block)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=block * n).reshape(block, n)
        yield score_resamples(score, truth, predicted, times.astype(float))
        left -= block


def _auc(score: np.ndarray, truth: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Fraction of positive-negative pairs in which the positive scores higher; ties count half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    positives, negatives = (
        np.add.reduceat(times[:, order] * which[order], starts, axis=1) for which in (truth, ~truth)
    )  # [r, v]
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(1) * negatives.sum(1)
    with np.errstate(invalid="ignore"):
        return np.sum(positives * (below + negatives / 2), axis=1) / pairs


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    counted = counted & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(counted, values, 0).sum(1) / counted.sum(1)


def _interval(values: np.ndarray) -> dict[str, float | int | None]:
    known = values[np.isfinite(values)]
    undefined = len(values) - len(known)
    if not len(known):
        return {"low": None, "high": None, "undefined": undefined}
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high), "undefined": undefined}

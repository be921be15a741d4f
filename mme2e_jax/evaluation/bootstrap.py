"""How far scores move with the choice of utterances: percentile bootstrap over those of a split.

A resample draws as many utterances as the split has, with replacement, and is scored by the same decisions. An interval
holds the middle 95 % of the scores of all resamples. So it tells what another sample of such utterances might have
given this model; not what another seed of training would, and nothing about other data. Utterances count as
independent: where several are of one video or speaker, the true interval is wider.

Where a resample has no such score it is left out, and counted: AUC and weighted accuracy need the emotion to be there
in some utterances and not in others; F1 needs it to be there, or to be predicted, in one at least. The mean over the
emotions is over those that have the score in that resample. But an emotion that the whole split never has, or always,
counts in it as it does in the reported mean (`metrics.compute`: with 0 for what is undefined, and not at all in AUC).

Axis legend: `r` resamples, `n` utterances, `l` labels, `v` different values of a score.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

LEVEL = 0.95
RESAMPLES = 1000
# Of those that `metrics.compute` gives.
SCORES = ("f1", "auc", "accuracy", "weighted_accuracy")
# Counts of a block of resamples, so that memory stays small however many utterances there are.
_BLOCK = 2_000_000


def intervals(
    score: Float[np.ndarray, "n l"],
    truth: Bool[np.ndarray, "n l"],
    predicted: Bool[np.ndarray, "n l"],
    label_names: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Intervals of scores, per label and of their mean; plain values, the same for the same arguments.

    Args:
      score: of each label; AUC depends on its order alone.
      truth: whether the label is there.
      predicted: whether it is said to be there.
      label_names: of the columns.
      seed: of the resamples.

    Returns:
      `mean` and `per_label`, with `low`, `high` (None where no resample has the score) and `undefined` (resamples that
      have not) for each of SCORES.
    """
    parts = list(_blocks(score, truth, predicted, np.random.default_rng(seed)))
    constant = truth.all(0) | ~truth.any(0)
    mean, per_label = {}, {label: {} for label in label_names}
    for name in SCORES:
        values, exists = (np.concatenate([part[name][i] for part in parts]) for i in (0, 1))
        mean[name] = _interval(_mean(values, exists | constant))
        for i, label in enumerate(label_names):
            per_label[label][name] = _interval(np.where(exists[:, i], values[:, i], np.nan))
    return {"mean": mean, "per_label": per_label}


class Resampled(NamedTuple):
    """A score of resamples."""

    value: Float[np.ndarray, "r l"]  # with 0 for what is undefined, as in `metrics.compute`; AUC is NaN then
    exists: Bool[np.ndarray, "r l"]


def resampled(
    score: Float[np.ndarray, "n l"],
    truth: Bool[np.ndarray, "n l"],
    predicted: Bool[np.ndarray, "n l"],
    times: Float[np.ndarray, "r n"],
) -> dict[str, Resampled]:
    """SCORES of resamples that hold each utterance so many times."""
    n = times.shape[1]
    there, said, both = (times @ what.astype(float) for what in (truth, predicted, truth & predicted))
    absent = n - there
    neither = absent - (said - both)
    varied = (there > 0) & (absent > 0)
    auc = np.stack([_auc(s, t, times) for s, t in zip(score.T, truth.T, strict=True)], axis=1)
    return {
        "f1": Resampled(_share(2 * both, there + said), there + said > 0),
        "auc": Resampled(auc, varied),
        "accuracy": Resampled((both + neither) / n, np.ones_like(varied)),
        "weighted_accuracy": Resampled((_share(both, there) + _share(neither, absent)) / 2, varied),
    }


def _blocks(score, truth, predicted, rng: np.random.Generator) -> Iterator[Mapping[str, Resampled]]:
    n, left = len(score), RESAMPLES
    while left:
        block = min(left, max(1, _BLOCK // n))
        drawn = rng.integers(n, size=(block, n)) + n * np.arange(block)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=block * n).reshape(block, n)
        yield resampled(score, truth, predicted, times.astype(float))
        left -= block


def _auc(score: np.ndarray, truth: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Of all pairs of a positive and a negative, the share in which the positive scores higher; ties count half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    positives, negatives = (
        np.add.reduceat(times[:, order] * which[order], starts, axis=1) for which in (truth, ~truth)
    )  # [r, v]
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(1) * negatives.sum(1)
    with np.errstate(invalid="ignore"):
        return np.sum(positives * (below + negatives / 2), axis=1) / pairs


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
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

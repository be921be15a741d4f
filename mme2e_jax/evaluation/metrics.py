"""Metrics per label and their mean, by scikit-learn on the host.

They need all predictions of a split at once. The ROC-AUC of a constant label is NaN and left out of the mean.

Axis legend: `n` utterances, `l` labels.
"""

import dataclasses
import enum
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

# The scores that tables show; the last two exist for REGRESSION only.
TABLE = ("accuracy", "weighted_accuracy", "recall", "precision", "f1", "auc", "mae", "corr")
# F1 of a label that neither occurs nor is predicted; scikit-learn declares the argument as str.
_ZERO: Any = 0.0
THRESHOLD_GRID = tuple(round(0.05 * k, 2) for k in range(1, 20))  # the paper's search: 0.05, 0.10, ..., 0.95


class Task(enum.Enum):
    """The meaning of scores."""

    MULTI_LABEL = "multi_label"  # a probability per label, decided by its threshold
    SINGLE_LABEL = "single_label"  # probabilities over the labels, decided by the highest
    REGRESSION = "regression"  # a value per label, decided by its threshold


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Scores of one split."""

    per_label: Mapping[str, Mapping[str, float]]  # label -> score -> value
    mean: Mapping[str, float]
    whole: Mapping[str, float]  # of the utterances' label sets
    thresholds: Mapping[str, float]  # label -> threshold of its score; empty for SINGLE_LABEL
    utterances: int
    always_f1: float  # mean F1 of the all-positive baseline

    def to_json(self) -> dict:
        """JSON values; an undefined score is None."""

        def plain(values: Mapping[str, float]) -> dict:
            return {k: None if np.isnan(v) else v for k, v in values.items()}

        return {
            "mean": plain(self.mean),
            "whole": plain(self.whole),
            "per_label": {k: plain(v) for k, v in self.per_label.items()},
            "thresholds": dict(self.thresholds),
            "utterances": self.utterances,
            "always_f1": self.always_f1,
        }


def compute(
    score: Float[np.ndarray, "n l"],
    truth: Float[np.ndarray, "n l"],
    label_names: Sequence[str],
    thresholds: Mapping[str, float],
    task: Task = Task.MULTI_LABEL,
) -> Metrics:
    """Scores of predictions; raises ValueError if a score is not finite.

    `weighted_accuracy` is balanced accuracy, the mean of the recalls of positives and negatives (the paper's MOSEI
    measure); `weighted_f1` averages the F1 of positives and negatives by their numbers. Means over labels are macro
    averages. `whole` counts utterances as the paper's code does, by their label sets: predicted exactly (`exact`, the
    usual accuracy under SINGLE_LABEL); not empty and without a false label (`subset`); with a right label and no false
    one before it in the order of labels (`overlap`). Exact ones count in all three.

    The truth is 0 or 1, for REGRESSION any value, positive above 0.5. `label_names` name the columns. `thresholds` are,
    per label, the score above which it is predicted; SINGLE_LABEL does not use them.
    """
    if not np.all(np.isfinite(score)):
        raise ValueError(f"{np.sum(~np.isfinite(score))} of {score.size} scores are not finite.")
    scores, positive = _sklearn_metrics(), truth > 0.5
    predicted = decide(score, label_names, thresholds, task)
    chosen = {} if task is Task.SINGLE_LABEL else {name: float(thresholds[name]) for name in label_names}
    per_label = {}
    for i, name in enumerate(label_names):
        per_label[name] = _scores(score[:, i], positive[:, i], predicted[:, i])
        if task is Task.REGRESSION:
            per_label[name] |= regression(score[:, i], truth[:, i])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no AUC is NaN
        names = per_label[label_names[0]]
        mean = {s: float(np.nanmean([per_label[name][s] for name in label_names])) for s in names}
    always_f1 = np.mean([scores.f1_score(t, np.ones_like(t), zero_division=_ZERO) for t in positive.T])
    return Metrics(per_label, mean, _whole(positive, predicted), chosen, len(truth), float(always_f1))


def decide(
    score: Float[np.ndarray, "n l"], label_names: Sequence[str], thresholds: Mapping[str, float], task: Task
) -> Bool[np.ndarray, "n l"]:
    """Decisions; arguments as for `compute`."""
    if task is Task.SINGLE_LABEL:
        return score.argmax(1)[:, None] == np.arange(score.shape[1])
    return score > np.array([float(thresholds[name]) for name in label_names])


def regression(
    value: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"], *, exclude_zero: bool = False
) -> dict[str, float]:
    """Scores of values on the scale of CMU-MOSEI's sentiment, -3 to 3.

    `mae`, `corr` (Pearson), `acc7` and `acc5` (rounded values, clipped at 3 and at 2), `acc2` and `sign_f1` (value
    above 0; F1 of both classes, weighted by how often each is predicted: published code swaps the arguments). With
    `exclude_zero`, the last two leave out utterances of truth 0.
    """

    def agreement(limit: float) -> float:
        return float(np.mean(np.round(np.clip(value, -limit, limit)) == np.round(np.clip(truth, -limit, limit))))

    scores, used = _sklearn_metrics(), (truth != 0) | (not exclude_zero)
    above, predicted = truth[used] > 0, value[used] > 0
    varied = np.ptp(value) > 0 and np.ptp(truth) > 0
    return {
        "mae": float(np.mean(np.abs(value - truth))),
        "corr": float(np.corrcoef(value, truth)[0, 1]) if varied else float("nan"),
        "acc2": float(scores.accuracy_score(above, predicted)),
        "acc5": agreement(2.0),
        "acc7": agreement(3.0),
        "sign_f1": float(scores.f1_score(predicted, above, average="weighted", zero_division=_ZERO)),
    }


def best_thresholds(
    score: Float[np.ndarray, "n l"],
    truth: Float[np.ndarray, "n l"],
    label_names: Sequence[str],
    smoothing: int,
    task: Task = Task.MULTI_LABEL,
) -> dict[str, float]:
    """Per label, the threshold of the grid with the best F1; the lowest of equals. Empty for SINGLE_LABEL.

    `score` are probabilities in [0, 1], or values of that scale. `smoothing` is the number of neighbours on either side
    whose F1 is averaged with a threshold's own (the outermost are repeated): F1 is noisy with few positives.
    """
    if task is Task.SINGLE_LABEL:
        return {}
    scores = _sklearn_metrics()

    def best(p, t):
        f1 = [scores.f1_score(t, p > c, zero_division=_ZERO) for c in THRESHOLD_GRID]
        window = np.ones(2 * smoothing + 1) / (2 * smoothing + 1)
        smoothed = np.convolve(np.pad(f1, smoothing, mode="edge"), window, mode="valid")
        return THRESHOLD_GRID[int(np.argmax(smoothed))]

    return {name: best(score[:, i], truth[:, i] > 0.5) for i, name in enumerate(label_names)}


def _whole(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    exact = (truth == predicted).all(1)
    right, wrong = truth & predicted, predicted & ~truth
    clean = right.any(1) & ~wrong.any(1)
    # The paper's code stops at the first false label.
    before = np.cumsum(wrong, axis=1) == 0
    return {
        "exact": float(exact.mean()),
        "subset": float((exact | clean).mean()),
        "overlap": float((exact | (right & before).any(1)).mean()),
    }


def _scores(score: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    scores = _sklearn_metrics()
    recall_of_negatives = scores.recall_score(~truth, ~predicted, zero_division=_ZERO)
    recall = scores.recall_score(truth, predicted, zero_division=_ZERO)
    both = truth.any() and not truth.all()
    return {
        "accuracy": float(scores.accuracy_score(truth, predicted)),
        "weighted_accuracy": float(recall + recall_of_negatives) / 2,
        "recall": float(recall),
        "precision": float(scores.precision_score(truth, predicted, zero_division=_ZERO)),
        "f1": float(scores.f1_score(truth, predicted, zero_division=_ZERO)),
        "weighted_f1": float(scores.f1_score(truth, predicted, average="weighted", zero_division=_ZERO)),
        "auc": float(scores.roc_auc_score(truth, score)) if both else float("nan"),
    }


def _sklearn_metrics() -> ModuleType:
    # Takes a second to import, and prediction needs none of it.
    from sklearn import metrics

    return metrics

"""What is reported of predictions: per emotion and their mean, on the host, from all predictions of a split at once.

Axis legend: `n` utterances, `l` labels. Scores come from scikit-learn. An emotion that a split never has, or always,
has no ROC-AUC: it is NaN there and left out of the mean.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn import metrics as scores

NAMES = ("accuracy", "weighted_accuracy", "recall", "precision", "f1", "auc")
# F1 of an emotion that is neither there nor predicted; scikit-learn's own type for it is str.
_ZERO: Any = 0.0
# The paper's search: 0.05, 0.10, ..., 0.95.
THRESHOLD_GRID = tuple(round(0.05 * k, 2) for k in range(1, 20))


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Scores of one split."""

    per_label: Mapping[str, Mapping[str, float]]  # label -> score -> value
    mean: Mapping[str, float]
    thresholds: Mapping[str, float]  # label -> probability at and above which it is said to be there
    utterances: int
    always_f1: float  # mean F1 of saying that every emotion is always there: what a model must beat

    def to_json(self) -> dict:
        """Plain values; a score that does not exist is None."""

        def plain(values: Mapping[str, float]) -> dict:
            return {k: None if np.isnan(v) else v for k, v in values.items()}

        return {
            "mean": plain(self.mean),
            "per_label": {k: plain(v) for k, v in self.per_label.items()},
            "thresholds": dict(self.thresholds),
            "utterances": self.utterances,
            "always_f1": self.always_f1,
        }


def compute(
    probability: Float[np.ndarray, "n l"],
    truth: Float[np.ndarray, "n l"],
    label_names: Sequence[str],
    thresholds: Mapping[str, float],
) -> Metrics:
    """Scores of multi-label predictions.

    `weighted_accuracy` is the mean of the recall of the positives and that of the negatives (the paper's MOSEI measure,
    also known as balanced accuracy); `accuracy` counts every utterance the same.

    Args:
      probability: in [0, 1].
      truth: 0 or 1.
      label_names: of the columns.
      thresholds: per label, a probability above which it counts as predicted.

    Raises:
      ValueError: if a probability is not finite.
    """
    if not np.all(np.isfinite(probability)):
        raise ValueError(f"{np.sum(~np.isfinite(probability))} of {probability.size} probabilities are not finite.")
    per_label = {
        name: _scores(probability[:, i], truth[:, i] > 0.5, thresholds[name]) for i, name in enumerate(label_names)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no AUC at all is NaN, as it should be
        mean = {score: float(np.nanmean([per_label[name][score] for name in label_names])) for score in NAMES}
    chosen = {name: float(thresholds[name]) for name in label_names}
    return Metrics(per_label, mean, chosen, len(truth), _always_f1(truth))


def best_thresholds(
    probability: Float[np.ndarray, "n l"], truth: Float[np.ndarray, "n l"], label_names: Sequence[str], smoothing: int
) -> dict[str, float]:
    """Per label, the threshold of the grid with the best F1; the lowest of equals.

    Args:
      probability: in [0, 1].
      truth: 0 or 1.
      label_names: of the columns.
      smoothing: each threshold is judged by the mean F1 of itself and of so many neighbours on either side (the
        outermost are repeated). With a handful of positives F1 is a staircase of chance, and its highest step seldom
        the right one. 0 is the paper's search.
    """

    def best(p, t):
        f1 = [scores.f1_score(t, p > c, zero_division=_ZERO) for c in THRESHOLD_GRID]
        window = np.ones(2 * smoothing + 1) / (2 * smoothing + 1)
        smoothed = np.convolve(np.pad(f1, smoothing, mode="edge"), window, mode="valid")
        return THRESHOLD_GRID[int(np.argmax(smoothed))]

    return {name: best(probability[:, i], truth[:, i] > 0.5) for i, name in enumerate(label_names)}


def _always_f1(truth: np.ndarray) -> float:
    return float(np.mean([scores.f1_score(t, np.ones_like(t), zero_division=_ZERO) for t in (truth > 0.5).T]))


def _scores(probability: np.ndarray, truth: np.ndarray, threshold: float) -> dict[str, float]:
    predicted = probability > threshold
    recall_of_negatives = scores.recall_score(~truth, ~predicted, zero_division=_ZERO)
    recall = scores.recall_score(truth, predicted, zero_division=_ZERO)
    both = truth.any() and not truth.all()
    return {
        "accuracy": float(scores.accuracy_score(truth, predicted)),
        "weighted_accuracy": float(recall + recall_of_negatives) / 2,
        "recall": float(recall),
        "precision": float(scores.precision_score(truth, predicted, zero_division=_ZERO)),
        "f1": float(scores.f1_score(truth, predicted, zero_division=_ZERO)),
        "auc": float(scores.roc_auc_score(truth, probability)) if both else float("nan"),
    }

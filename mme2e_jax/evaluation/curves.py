"""ROC and precision-recall curves, and co-occurrence of labels.

Axis legend: `n` utterances, `l` labels, `c` points of a curve.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn import metrics as scores

Scores = Float[np.ndarray, "n"]
Labels = Bool[np.ndarray, "n"]


class Curve(NamedTuple):
    """A curve, and the point on it that the decisions correspond to."""

    x: Float[np.ndarray, "c"]
    y: Float[np.ndarray, "c"]
    threshold: Float[np.ndarray, "c"]  # lowest score that counts as positive; infinite where none does
    area: float
    decisions: tuple[float, float]


def roc(score: Scores, truth: Labels, predicted: Labels) -> Curve | None:
    """False and true positive rates; None unless there are both positives and negatives."""
    if truth.all() or not truth.any():
        return None
    x, y, threshold = scores.roc_curve(truth, score)
    area = float(scores.roc_auc_score(truth, score))
    return Curve(x, y, threshold, area, (_rate(predicted, ~truth), _rate(predicted, truth)))


def precision_recall(score: Scores, truth: Labels, predicted: Labels) -> Curve | None:
    """Recall and precision, average precision as area; None without positives. Without decisions, precision is NaN."""
    if not truth.any():
        return None
    precision, recall, threshold = scores.precision_recall_curve(truth, score)
    area = float(scores.average_precision_score(truth, score))
    threshold = np.append(threshold, np.inf)
    return Curve(recall, precision, threshold, area, (_rate(predicted, truth), _rate(truth, predicted)))


def cooccurrence(truth: Bool[np.ndarray, "n l"], predicted: Bool[np.ndarray, "n l"]) -> Int[np.ndarray, "l+1 l+1"]:
    """Utterances by true (row) and decided (column) labels, no label last; one counts in every cell that it fits."""
    with_none = [np.column_stack([labels, ~labels.any(1)]).astype(int) for labels in (truth, predicted)]
    return with_none[0].T @ with_none[1]


def _rate(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")

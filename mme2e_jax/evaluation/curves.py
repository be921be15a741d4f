"""What scores are worth at other thresholds: ROC and precision-recall curves; and which labels are confused.

Axis legend: `n` utterances, `l` labels, `c` points of a curve.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn import metrics as scores


class Curve(NamedTuple):
    """A curve, and where on it the decisions are."""

    x: Float[np.ndarray, "c"]
    y: Float[np.ndarray, "c"]
    area: float
    decisions: tuple[float, float]


def roc(score: Float[np.ndarray, "n"], truth: Bool[np.ndarray, "n"], predicted: Bool[np.ndarray, "n"]) -> Curve | None:
    """Share of the negatives that is taken for positives, and of the positives that is found; None without either."""
    if truth.all() or not truth.any():
        return None
    x, y, _ = scores.roc_curve(truth, score)
    return Curve(x, y, float(scores.roc_auc_score(truth, score)), (_share(predicted, ~truth), _share(predicted, truth)))


def precision_recall(
    score: Float[np.ndarray, "n"], truth: Bool[np.ndarray, "n"], predicted: Bool[np.ndarray, "n"]
) -> Curve | None:
    """Recall and precision, with average precision as area; None without positives.

    Where nothing is predicted the decisions' precision is NaN.
    """
    if not truth.any():
        return None
    precision, recall, _ = scores.precision_recall_curve(truth, score)
    area = float(scores.average_precision_score(truth, score))
    return Curve(recall, precision, area, (_share(predicted, truth), _share(truth, predicted)))


def cooccurrence(truth: Bool[np.ndarray, "n l"], predicted: Bool[np.ndarray, "n l"]) -> Int[np.ndarray, "l+1 l+1"]:
    """Utterances that have the row's label and are said to have the column's; the last row and column: no label.

    An utterance counts once in each cell that it fits.
    """
    with_none = [np.column_stack([labels, ~labels.any(1)]).astype(int) for labels in (truth, predicted)]
    return with_none[0].T @ with_none[1]


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")

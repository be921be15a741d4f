"""Curves and co-occurrence by hand."""

import numpy as np
import pytest

from mme2e_jax.evaluation.curves import cooccurrence, precision_recall, roc

SCORE = np.array([0.9, 0.8, 0.7, 0.1])
TRUTH = np.array([1, 0, 1, 0], bool)
PREDICTED = SCORE > 0.75


def test_a_roc_curve_goes_up_with_each_positive_and_right_with_each_negative() -> None:
    curve = roc(SCORE, TRUTH, PREDICTED)

    assert curve is not None
    points = list(zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    assert points == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.1]
    # Of the four pairs of a positive and a negative three are in order.
    assert curve.area == 0.75
    assert curve.decisions == (0.5, 0.5)


def test_precision_and_recall_by_hand() -> None:
    curve = precision_recall(SCORE, TRUTH, PREDICTED)

    assert curve is not None
    # With the highest score alone, with two, with three, with all.
    assert curve.x.tolist() == [1, 1, 0.5, 0.5, 0]
    assert curve.y.tolist() == pytest.approx([2 / 4, 2 / 3, 1 / 2, 1, 1])
    assert curve.threshold.tolist() == [0.1, 0.7, 0.8, 0.9, np.inf]
    # Half of the positives at precision 1, the other half at 2/3.
    assert curve.area == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert curve.decisions == (0.5, 0.5)


def test_where_nothing_is_predicted_the_decisions_have_no_precision() -> None:
    curve = precision_recall(SCORE, TRUTH, SCORE > 1)

    assert curve is not None
    assert curve.decisions[0] == 0
    assert np.isnan(curve.decisions[1])


def test_a_label_that_is_never_or_always_there_has_no_roc_curve() -> None:
    never, always = np.zeros(4, bool), np.ones(4, bool)

    assert roc(SCORE, never, PREDICTED) is None
    assert roc(SCORE, always, PREDICTED) is None
    assert precision_recall(SCORE, never, PREDICTED) is None
    assert precision_recall(SCORE, always, PREDICTED) is not None


def test_cooccurrence_counts_an_utterance_in_every_cell_that_it_fits() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], bool)
    predicted = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], bool)

    # Rows: true a, true b, true none; columns: predicted a, b, none.
    assert cooccurrence(truth, predicted).tolist() == [[1, 0, 1], [2, 1, 0], [0, 1, 0]]


def test_with_one_label_each_it_is_the_confusion_matrix() -> None:
    truth, predicted = np.eye(3, dtype=bool)[[0, 0, 1, 2]], np.eye(3, dtype=bool)[[0, 1, 1, 0]]

    found = cooccurrence(truth, predicted)

    assert found[:3, :3].tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert found.sum() == 4

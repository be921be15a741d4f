"""Plots of ROC and precision-recall curves: values, tips and size."""

import dataclasses

import numpy as np

from mme2e_jax.evaluation.inference import Decisions
from mme2e_jax.report.curve_plots import curve_plots
from tests.report.test_write import content


def test_a_tip_has_the_values_and_the_score_of_its_point() -> None:
    c = content()
    score = np.array([[0.9], [0.8], [0.7], [0.1]])
    truth = np.array([[1], [0], [1], [0]], bool)
    one = dataclasses.replace(
        c, label_names=("happy",), decisions={**c.decisions, "test": Decisions(score, truth, score > 0.75)}
    )

    roc, precision_recall = curve_plots(one)

    line = roc.lines[1]
    assert line.name == "happy 0.75"
    assert (list(line.x), list(line.y)) == ([0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1])
    assert line.tips[0].text == "happy, scores from 0.90\nfalse positive rate 0.00\nrecall 0.50"
    assert line.mark == line.tips[-1]
    assert line.tips[-1].text == "happy, decisions\nfalse positive rate 0.50\nrecall 0.50"
    # As many as there are scores, and the decisions.
    assert len(precision_recall.lines[0].tips) == 5
    assert precision_recall.lines[0].steps


def test_long_curves_keep_their_ends_and_few_points() -> None:
    roc, precision_recall = curve_plots(content(n=3000))

    for line in (*roc.lines[1:], *precision_recall.lines):
        assert 60 < len(line.x) <= 120
    x, y = roc.lines[1].x, roc.lines[1].y
    assert ((x[0], y[0]), (x[-1], y[-1])) == ((0, 0), (1, 1))


def test_an_emotion_without_positives_has_no_curve() -> None:
    roc, precision_recall = curve_plots(content(absent=True))

    assert [line.name.rpartition(" ")[0] for line in roc.lines[1:]] == ["happy", "<sad>"]
    assert len(precision_recall.lines) == 2

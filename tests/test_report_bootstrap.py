"""Bootstrap intervals: scores of resamples against scikit-learn, and intervals whose width is known."""

import numpy as np
import pytest
from sklearn import metrics as scores

from mme2e_jax.report import bootstrap
from mme2e_jax.report.bootstrap import RESAMPLES, SCORES, intervals, resampled

NAMES = ("a", "b")


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, truth, and decisions that have to do with both."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 2)) < 0.4
    score = np.round(rng.random((n, 2)) + 0.3 * truth, 1)
    return score, truth, score > 0.6


def test_a_resample_has_the_scores_of_its_utterances() -> None:
    score, truth, predicted = drawn(30)
    times = np.random.default_rng(1).multinomial(30, [1 / 30] * 30, size=5)

    found = resampled(score, truth, predicted, times.astype(float))

    for r, i in np.ndindex(5, 2):
        s, t, p = (np.repeat(values[:, i], times[r]) for values in (score, truth, predicted))
        expected = {
            "f1": scores.f1_score(t, p),
            "auc": scores.roc_auc_score(t, s),
            "accuracy": scores.accuracy_score(t, p),
            "weighted_accuracy": scores.balanced_accuracy_score(t, p),
        }
        assert {name: found[name][r, i] for name in SCORES} == pytest.approx(expected)


def test_what_a_resample_does_not_have_is_nan() -> None:
    # By hand: the first label is there and predicted in utterance 0 alone, the second one everywhere and never.
    truth, predicted = np.array([[1, 1], [0, 1]], bool), np.array([[1, 0], [0, 0]], bool)
    score = np.array([[0.9, 0.1], [0.2, 0.1]])

    found = resampled(score, truth, predicted, np.array([[1.0, 1], [0, 2], [2, 0]]))

    np.testing.assert_array_equal(found["f1"], [[1, 0], [np.nan, 0], [1, 0]])
    np.testing.assert_array_equal(found["auc"], [[1, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found["weighted_accuracy"][0], [1, np.nan])
    np.testing.assert_array_equal(found["accuracy"], [[1, 0], [1, 0], [1, 0]])


def test_an_interval_is_as_wide_as_statistics_has_it() -> None:
    # 80 % of 400 decisions are right: the standard error of the accuracy is sqrt(.8 * .2 / 400) = 0.02.
    truth = np.ones((400, 1), bool)
    predicted = np.arange(400)[:, None] < 320

    found = intervals(predicted.astype(float), truth, predicted, ("a",), seed=3)["mean"]["accuracy"]

    assert found["low"] == pytest.approx(0.8 - 1.96 * 0.02, abs=0.005)
    assert found["high"] == pytest.approx(0.8 + 1.96 * 0.02, abs=0.005)
    assert found["undefined"] == 0


def test_resamples_without_a_score_are_counted_and_left_out() -> None:
    # One of four utterances has it, and all is predicted right: it is missing in (3/4)^4 of the resamples.
    truth = np.array([[1], [0], [0], [0]], bool)

    found = intervals(truth.astype(float), truth, truth, ("a",), seed=0)["per_label"]["a"]

    f1 = found["f1"]
    assert (f1["low"], f1["high"]) == (1.0, 1.0)
    assert f1["undefined"] == pytest.approx(0.316 * RESAMPLES, abs=50)
    # And in (1/4)^4 of them it is everywhere.
    assert f1["undefined"] < found["auc"]["undefined"] < f1["undefined"] + 15


def test_a_score_that_no_resample_has_has_no_interval() -> None:
    never = np.zeros((5, 1), bool)

    found = intervals(np.zeros((5, 1)), never, never, ("a",), seed=0)

    for where in (found["mean"], found["per_label"]["a"]):
        assert where["f1"] == where["auc"] == {"low": None, "high": None, "undefined": RESAMPLES}
        assert where["accuracy"] == {"low": 1.0, "high": 1.0, "undefined": 0}


def test_the_mean_is_of_the_labels_that_have_the_score() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], bool)
    predicted = truth.copy()

    found = intervals(truth.astype(float), truth, predicted, NAMES, seed=0)

    assert (found["mean"]["f1"]["low"], found["mean"]["f1"]["high"]) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    data = drawn(40)

    assert intervals(*data, NAMES, seed=5) == intervals(*data, NAMES, seed=5)
    assert intervals(*data, NAMES, seed=5) != intervals(*data, NAMES, seed=6)


def test_resamples_are_as_many_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 40 * 300)
    never = np.zeros((40, 1), bool)

    found = intervals(np.zeros((40, 1)), never, never, ("a",), seed=0)

    assert found["mean"]["f1"]["undefined"] == RESAMPLES

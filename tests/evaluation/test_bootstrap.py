"""Bootstrap intervals: scores of resamples against scikit-learn, and intervals whose width is known."""

import numpy as np
import pytest
from sklearn import metrics as scores

from mme2e_jax.evaluation import bootstrap, metrics
from mme2e_jax.evaluation.bootstrap import (
    RESAMPLES,
    SCORES,
    differences,
    intervals,
    mean_resamples,
    score_resamples,
)

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

    found = score_resamples(score, truth, predicted, times.astype(float))

    for r, i in np.ndindex(5, 2):
        s, t, p = (np.repeat(values[:, i], times[r]) for values in (score, truth, predicted))
        expected = {
            "f1": scores.f1_score(t, p),
            "auc": scores.roc_auc_score(t, s),
            "accuracy": scores.accuracy_score(t, p),
            "weighted_accuracy": scores.balanced_accuracy_score(t, p),
        }
        assert {name: found[name].value[r, i] for name in SCORES} == pytest.approx(expected)


def test_what_a_resample_does_not_have_is_nan() -> None:
    # By hand: the first label is there and predicted in utterance 0 alone, the second one everywhere and never.
    truth, predicted = np.array([[1, 1], [0, 1]], bool), np.array([[1, 0], [0, 0]], bool)
    score = np.array([[0.9, 0.1], [0.2, 0.1]])

    found = score_resamples(score, truth, predicted, np.array([[1.0, 1], [0, 2], [2, 0]]))

    assert found["f1"].exists.tolist() == [[True, True], [False, True], [True, True]]
    assert found["f1"].value.tolist() == [[1, 0], [0, 0], [1, 0]]
    assert found["auc"].exists.tolist() == [[True, False], [False, False], [False, False]]
    np.testing.assert_array_equal(found["auc"].value, [[1, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    assert (found["weighted_accuracy"].exists == found["auc"].exists).all()
    assert found["weighted_accuracy"].value[:, 0].tolist() == [1, 0.5, 0.5]
    assert found["accuracy"].value.tolist() == [[1, 0], [1, 0], [1, 0]]


def test_the_sample_itself_has_the_reported_scores() -> None:
    score, truth, predicted = drawn(20)
    # Never there and never said; and never there but said.
    score, truth = (
        np.column_stack([score, score[:, 0], score[:, 1]]),
        np.column_stack([truth, *np.zeros((2, 20), bool)]),
    )
    predicted = np.column_stack([predicted, np.zeros(20, bool), predicted[:, 1]])
    names = ("a", "b", "c", "d")
    thresholds = {"a": 0.6, "b": 0.6, "c": 2.0, "d": 0.6}
    expected = metrics.compute(score, truth.astype(np.float32), names, thresholds)

    found = score_resamples(score, truth, predicted, np.ones((1, 20)))

    for name in SCORES:
        assert found[name].value[0].tolist() == pytest.approx(
            [expected.per_label[label][name] for label in names], nan_ok=True
        )


def test_an_emotion_that_a_split_never_has_counts_in_the_mean_as_in_the_reported_one() -> None:
    truth = np.zeros((20, 2), bool)
    truth[::2, 0] = True

    found = intervals(truth.astype(float), truth, truth, NAMES, seed=0)

    # All right: 1 and 0 for F1; for the other two 1 and (0 + 1) / 2, and 1 alone.
    middle = {name: (entry["low"], entry["high"]) for name, entry in found["mean"].items()}
    assert middle == {"f1": (0.5, 0.5), "auc": (1, 1), "accuracy": (1, 1), "weighted_accuracy": (0.75, 0.75)}


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

    none = {"low": None, "high": None, "undefined": RESAMPLES}
    assert found["per_label"]["a"]["f1"] == found["per_label"]["a"]["auc"] == found["mean"]["auc"] == none
    for where in (found["mean"], found["per_label"]["a"]):
        assert where["accuracy"] == {"low": 1.0, "high": 1.0, "undefined": 0}


def test_an_emotion_that_a_resample_misses_is_not_in_its_mean() -> None:
    truth = np.zeros((8, 2), bool)
    truth[0, 0] = truth[1:5, 1] = True

    found = intervals(truth.astype(float), truth, truth, NAMES, seed=0)

    # The first one is missing in a third of the resamples.
    assert found["per_label"]["a"]["f1"]["undefined"] > 200
    assert (found["mean"]["f1"]["low"], found["mean"]["f1"]["high"]) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    data = drawn(40)

    assert intervals(*data, NAMES, seed=5) == intervals(*data, NAMES, seed=5)
    assert intervals(*data, NAMES, seed=5) != intervals(*data, NAMES, seed=6)


def test_resamples_are_as_many_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BLOCK", 40 * 300)
    never = np.zeros((40, 1), bool)

    found = intervals(np.zeros((40, 1)), never, never, ("a",), seed=0)

    assert found["per_label"]["a"]["f1"]["undefined"] == RESAMPLES


def test_means_of_resamples_have_the_intervals_of_the_means() -> None:
    decided = drawn(40)
    around = intervals(*decided, NAMES, seed=3)["mean"]

    for name, values in mean_resamples(*decided, seed=3).items():
        assert np.quantile(values, [0.025, 0.975]).tolist() == [around[name]["low"], around[name]["high"]]


def test_a_difference_is_taken_within_each_resample() -> None:
    (score, truth, predicted), (_, _, others) = drawn(20), drawn(20, seed=1)

    found = differences(mean_resamples(score, truth, predicted, 5), mean_resamples(score, truth, others, 5))

    # Accuracy by hand: the difference of an utterance is 1 where only the first predictions are right.
    gain = ((predicted == truth).astype(float) - (others == truth)).mean(1)
    resampled = gain[np.random.default_rng(5).integers(20, size=(RESAMPLES, 20))].mean(1)
    assert [found["accuracy"]["low"], found["accuracy"]["high"]] == pytest.approx(
        np.quantile(resampled, [0.025, 0.975])
    )


def test_predictions_that_rank_alike_differ_by_nothing() -> None:
    score, truth, predicted = drawn(20)

    found = differences(mean_resamples(score, truth, predicted, 0), mean_resamples(2 * score, truth, predicted, 0))

    assert {(around["low"], around["high"]) for around in found.values()} == {(0.0, 0.0)}

"""Scores against hand-computed values, scikit-learn, and the paper's code."""

import numpy as np
import pytest
from sklearn import metrics as sk

from mme2e_jax.evaluation import metrics
from tests.helpers import oracle

LABELS = tuple("abcdef")
KEYS = {"accs": "accuracy", "recalls": "recall", "precisions": "precision", "f1s": "f1", "aucs": "auc"}


def given():
    stored = oracle.arrays("metrics")
    return 1 / (1 + np.exp(-stored["logits"].astype(np.float64))), stored["truths"], stored


def row(found: metrics.Metrics, score: str) -> np.ndarray:
    """A score of all labels and its mean, as the paper's code lists them."""
    return np.array([found.per_label[name][score] for name in LABELS] + [found.mean[score]])


def test_a_case_by_hand():
    probability = np.array([[0.9], [0.8], [0.4], [0.1]])
    truth = np.array([[1.0], [0.0], [1.0], [0.0]])
    found = metrics.compute(probability, truth, ["a"], {"a": 0.5})
    assert dict(found.per_label["a"]) == {
        "accuracy": 0.5,
        "weighted_accuracy": 0.5,
        "recall": 0.5,
        "precision": 0.5,
        "f1": 0.5,
        "weighted_f1": 0.5,
        "auc": 0.75,
    }
    assert found.always_f1 == pytest.approx(2 / 3)
    assert found.utterances == 4


def test_the_search_for_thresholds_is_the_paper_codes():
    probability, truth, stored = given()
    found = metrics.best_thresholds(probability, truth, LABELS, smoothing=0)
    np.testing.assert_allclose([found[name] for name in LABELS], stored["iemocap/thresholds"])


def test_smoothing_prefers_a_broad_hill_of_f1_to_a_lone_peak():
    truth = np.array([[1.0]] * 3 + [[0.0]] * 3)
    # Above 0.9 only one positive is left; 0.87 to 0.9 separates perfectly but for a hair's breadth.
    probability = np.array([[0.88], [0.6], [0.95], [0.56], [0.2], [0.1]])
    plain = metrics.best_thresholds(probability, truth, ["a"], smoothing=0)
    smoothed = metrics.best_thresholds(probability, truth, ["a"], smoothing=3)
    # F1 is 1 only at 0.60 > t >= 0.56, which the grid does not hit; 6/7 from 0.20 to 0.55, 4/5 from 0.60 to 0.85.
    assert plain == {"a": 0.2}
    assert smoothed == {"a": 0.35}


@pytest.mark.parametrize("case", ["iemocap", "iemocap_fixed"])
def test_scores_are_the_paper_codes(case):
    probability, truth, stored = given()
    thresholds = dict(zip(LABELS, stored[f"{case}/thresholds"], strict=True))
    found = metrics.compute(probability, truth, LABELS, thresholds)
    for theirs, ours in KEYS.items():
        np.testing.assert_allclose(row(found, ours), stored[f"{case}/{theirs}"], atol=1e-12)


def test_weighted_accuracy_is_the_paper_codes():
    probability, truth, stored = given()
    found = metrics.compute(probability, truth, LABELS, dict.fromkeys(LABELS, 0.5))
    np.testing.assert_allclose(row(found, "weighted_accuracy"), stored["mosei_emo/waccs"], atol=1e-12)


def test_scores_are_scikit_learns():
    probability, truth, _ = given()
    found = metrics.compute(probability, truth, LABELS, dict.fromkeys(LABELS, 0.35))
    predicted = probability[:, 2] > 0.35
    assert found.per_label["c"]["f1"] == sk.f1_score(truth[:, 2], predicted)
    assert found.per_label["c"]["weighted_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(truth[:, 2], predicted)
    )


def test_an_emotion_that_a_split_never_has_leaves_the_mean_auc_alone():
    probability = np.array([[0.9, 0.5], [0.2, 0.5]])
    truth = np.array([[1.0, 0.0], [0.0, 0.0]])
    found = metrics.compute(probability, truth, ["a", "b"], {"a": 0.5, "b": 0.6})
    assert np.isnan(found.per_label["b"]["auc"])
    assert found.mean["auc"] == 1.0
    assert found.to_json()["per_label"]["b"]["auc"] is None


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        metrics.compute(np.array([[np.nan], [0.5]]), np.zeros((2, 1)), ["a"], {"a": 0.5})


def test_shares_of_whole_utterances_are_the_paper_codes():
    probability, truth, stored = given()
    found = metrics.compute(probability, truth, LABELS, dict.fromkeys(LABELS, 0.5)).whole
    want = stored["mosei_emo/strict_subset_intersect"]
    np.testing.assert_allclose([found[k] for k in ("exact", "subset", "overlap")], want, atol=1e-12)


def test_weighted_f1_is_the_paper_codes():
    probability, truth, stored = given()
    found = metrics.compute(probability, truth, LABELS, dict.fromkeys(LABELS, 0.5))
    np.testing.assert_allclose(row(found, "weighted_f1"), stored["mosei_emo/weighted_f1s"], atol=1e-12)


def test_scores_of_single_labels_are_the_paper_codes():
    stored = oracle.arrays("metrics")
    truth = np.eye(4)[stored["ce_truths"]]
    found = metrics.compute(stored["ce_logits"], truth, "abcd", {}, metrics.Task.SINGLE_LABEL)
    for name in ("recall", "precision", "f1"):
        assert found.mean[name] == pytest.approx(float(stored[f"iemocap_ce/{name}"]), abs=1e-12)
    assert found.whole["exact"] == pytest.approx(float(stored["iemocap_ce/acc"]), abs=1e-12)
    assert found.thresholds == {}


@pytest.mark.parametrize("exclude_zero", [False, True])
def test_scores_of_sentiment_are_the_paper_codes(exclude_zero):
    stored = oracle.arrays("metrics")
    found = metrics.regression(stored["senti_preds"], stored["senti_truths"], exclude_zero=exclude_zero)
    names = {"mae": "mae", "acc2": "acc2", "acc5": "acc5", "acc7": "acc7", "f1": "sign_f1", "corr": "corr"}
    for theirs, ours in names.items():
        want = float(stored[f"mosei_senti_exzero{int(exclude_zero)}/{theirs}"])
        # The paper's code sums in float32.
        assert found[ours] == pytest.approx(want, abs=1e-7 if ours == "mae" else 1e-12), ours


def test_values_are_decided_by_thresholds_and_measured_too():
    value = np.array([[0.9, 0.2], [0.4, 0.7], [0.1, 0.6]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = metrics.compute(value, truth, "ab", {"a": 0.5, "b": 0.65}, metrics.Task.REGRESSION)
    assert found.mean["f1"] == 1.0
    assert found.per_label["a"]["mae"] == pytest.approx((0.1 + 0.4 + 0.1) / 3)
    assert found.whole["exact"] == 1.0

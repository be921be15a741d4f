"""The page of a report with hand-made content: its text, sections that do not apply, and escaping."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from mme2e_jax.evaluation import bootstrap, metrics
from mme2e_jax.evaluation.inference import Decisions
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.report import tables
from mme2e_jax.report.content import Content
from mme2e_jax.report.preparation import Preparation, Reason, ReportedUtterance
from mme2e_jax.report.training import Training
from mme2e_jax.report.utterances import PARTLY, RIGHT, WRONG, Shown
from mme2e_jax.report.write import page, write
from tests.helpers.pages import ParsedPage, random_evidence

NAMES = ("happy", "<sad>", "a$b")
THRESHOLDS = {"happy": 0.5, "<sad>": 0.4, "a$b": 0.3}
FIGURES = {"loss", "validation", "f1", "auc", "cooccurrence", "active"}
COST = {
    "active_fraction": {"a": [0.5, 0.4, 0.3], "v": [0.5, 0.45, 0.35]},
    "macs": {"t": {"albert": 2e6}, "v": {"low_level": 3e6, "stage_0": 1e6}},
    "dense_macs": {"t": {"albert": 2e6}, "v": {"low_level": 3e6, "stage_0": 2e6}},
    "extraction_gflops": 0.25,
    "dense_extraction_gflops": 0.5,
}


def random_decisions(n: int, task: Task, absent: bool) -> Decisions:
    rng = np.random.default_rng(n)
    score = rng.random((n, 3))
    truth = np.eye(3, dtype=bool)[rng.integers(3, size=n)] if task is Task.SINGLE_LABEL else rng.random((n, 3)) < 0.4
    if absent:
        truth[:, 2] = False
    return Decisions(score, truth, metrics.decide(score, NAMES, THRESHOLDS, task))


def content(
    *, task: Task = Task.MULTI_LABEL, cost: bool = True, dataset: str = "mini", absent: bool = False, n: int = 25
) -> Content:
    """Content of a sparse end-to-end model, or without a cost of a baseline."""
    both = {"valid": random_decisions(30, task, False), "test": random_decisions(n, task, absent)}
    found: dict[str, Any] = {"step": 12, "skipped": {}, "intervals": {}}
    for split, (score, truth, predicted) in both.items():
        found[split] = metrics.compute(score, truth.astype(np.float32), NAMES, THRESHOLDS, task).to_json()
        found[split] |= {"cost": COST} if cost else {}
        found["intervals"][split] = bootstrap.intervals(score, truth, predicted, NAMES, seed=0)
    shown = Shown(
        identifier="clip<1>",
        outcome=WRONG,
        truth=("happy",),
        decided=("<sad>",),
        scores={"happy": 0.2, "<sad>": 0.6, "a$b": 0.1},
        shares={"t": 0.5, "v": 0.3, "a": 0.2},
        transcript="<script>alert(1)</script>",
        evidence=random_evidence(sparse=True) if cost else None,
        notes=("There is <no> sound.",),
    )
    return Content(
        run="runs/a & b",
        metrics=found,
        config={
            "seed": 7,
            "data": {"dataset": dataset, "dir": "<records>"},
            "model": {"name": "mme2e_sparse" if cost else "lf_rnn"},
            "evaluation": {"threshold_smoothing": 3},
        },
        task=task,
        label_names=NAMES,
        modalities="tva",
        thresholds={} if task is Task.SINGLE_LABEL else THRESHOLDS,
        sparse_threshold=0.5 if cost else None,
        imported=False,
        parameters=1234,
        decisions=both,
        training=Training([(0.5, 1.2), (1.0, 1.1)], [1.15, 0.9], {"F1": [0.3, 0.4], "AUC": [None, 0.6]}, 2),
        examples=[shown, shown._replace(outcome=RIGHT)],
        outcomes={RIGHT: 3, PARTLY: 4, WRONG: n - 7},
        preparation=Preparation(
            utterances={"kept": 80, "dropped": 1},
            reasons={
                "no_wav": Reason(
                    effect="degraded",
                    meaning="The wav <file> is missing.",
                    count=7,
                    utterances=[ReportedUtterance(id=f"u<{i}>") for i in range(7)],
                )
            },
            warnings=["A dialogue is in <two> splits."],
        ),
        skipped_steps=[],
        provenance={"devices": "1 x cpu", "jax": "0.10.2"},
    )


def written(c: Content, directory: Path) -> str:
    return write(c, directory).read_text(encoding="utf-8")


def pictures(text: str) -> set[str]:
    return {str(values["src"]) for tag, values in ParsedPage(text, ("img",)).tags if tag == "img"}


def test_the_page_needs_only_its_figures(tmp_path: Path) -> None:
    text = written(content(), tmp_path)
    seen = ParsedPage(text, ("img",))

    assert not seen.open
    assert not [tag for tag, _ in seen.tags if tag in ("iframe", "object")]
    links = [str(values[name]) for _, values in seen.tags for name in ("href", "src") if name in values]
    assert pictures(text) == {f"{name}.png" for name in FIGURES}
    assert all(link.startswith(("#", "data:")) for link in links if link not in pictures(text))
    names = [values["id"] for _, values in seen.tags if "id" in values]
    assert len(names) == len(set(names))
    assert {link[1:] for link in links if link.startswith("#")} == set(names)
    assert "http" not in text
    for tag, values in seen.tags:
        if tag == "img":
            assert values["alt"]
            height, width, _ = imread(tmp_path / str(values["src"])).shape
            # Enough pixels for high-density screens.
            assert width == pytest.approx(1.6 * int(values["width"] or 0), abs=2)
            assert height == pytest.approx(1.6 * int(values["height"] or 0), abs=2)


def test_all_text_is_escaped(tmp_path: Path) -> None:
    text = written(content(dataset="<data>"), tmp_path)

    for name in ("<sad>", "<script>alert", "clip<1>", "<no>", "<file>", "u<0>", "<two>", "<records>", "<data>"):
        assert name not in text
        assert name.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "Report of a &amp; b" in text


def test_scores_are_shown_with_their_intervals() -> None:
    c = content()
    around = c.metrics["intervals"]["test"]["mean"]["f1"]
    low, high = f"{around['low']:.3f}", f"{around['high']:.3f}"

    text = page(c, {})

    assert f"<b>{c.metrics['test']['mean']['f1']:.3f}</b>mean F1" in text
    assert f"95%: {low} to {high}" in text
    assert "do not cover other training seeds" in text
    assert tables.scores(c, "test").rows[-1][1].endswith(f"({around['low']:.2f} to {around['high']:.2f})")


def test_a_note_says_that_a_small_split_has_wide_intervals() -> None:
    assert "only 25 utterances, so intervals are wide" in page(content(), {})
    assert "so intervals are wide" not in page(content(n=3000), {})


def test_an_emotion_without_positives_is_named_and_has_no_curve(tmp_path: Path) -> None:
    c = content(absent=True)

    text = written(c, tmp_path)

    assert "No utterance of the test split has: a$b." in text
    assert tables.scores(c, "test").rows[2][2] == "–"
    assert "None" not in text
    assert "nan" not in text


def test_emotions_that_are_always_predicted_are_named() -> None:
    c = content()
    score, truth, predicted = c.decisions["test"]
    predicted = predicted.copy()
    predicted[:, :2] = True
    always = dataclasses.replace(c, decisions={**c.decisions, "test": Decisions(score, truth, predicted)})

    assert "The model predicts for every utterance of the test split: happy, &lt;sad&gt;." in page(always, {})
    assert "for every utterance" not in page(c, {})


def test_true_and_predicted_emotions_are_shown_once(tmp_path: Path) -> None:
    text = written(content(), tmp_path)

    section = text.partition('id="confusion"')[2].partition("<h2")[0]
    assert 'src="cooccurrence.png"' in section
    assert "<table" not in section


def test_a_single_label_model_has_no_thresholds(tmp_path: Path) -> None:
    text = written(content(task=Task.SINGLE_LABEL), tmp_path)

    assert "there are no thresholds" in text
    assert "validation: positives" not in text
    assert "(none)" not in text


def test_regression_has_its_own_scores(tmp_path: Path) -> None:
    text = written(content(task=Task.REGRESSION), tmp_path)

    assert "mean absolute error" in text
    assert "value is above its threshold" in text


def test_a_model_of_features_has_no_cost_and_no_images(tmp_path: Path) -> None:
    (tmp_path / "active.png").write_bytes(b"of an earlier report")
    (tmp_path / "another.png").write_bytes(b"not of a report")

    text = written(content(cost=False), tmp_path)

    assert "Does not apply: this model reads extracted features" in text
    assert "Images do not apply" in text
    assert pictures(text) == {f"{name}.png" for name in FIGURES - {"active"}}
    assert not (tmp_path / "active.png").exists()
    assert (tmp_path / "another.png").exists()


def test_imported_weights_have_no_training(tmp_path: Path) -> None:
    text = written(dataclasses.replace(content(), imported=True, training=None), tmp_path)

    assert "The weights were imported" in text
    assert "Does not apply: this program did not train these weights" in text
    assert not pictures(text) & {"loss.png", "validation.png"}


def test_utterances_left_out_are_listed() -> None:
    c = content()
    c.metrics["skipped"]["clip_9"] = "shard 3, record 4 (test): expected <mel>"

    text = page(c, {})

    assert "80 kept, 1 dropped" in text
    assert c.preparation is not None
    assert tables.reasons(c.preparation).rows == [
        ["no wav", "degraded", "7", "The wav <file> is missing.", "u<0>, u<1>, u<2>, u<3>, u<4> and 2 more"]
    ]
    assert "Utterances left out of all numbers because their records are invalid (see below): 1." in text
    assert "expected &lt;mel&gt;" in text
    assert "it is unknown what preparation left out" in page(dataclasses.replace(c, preparation=None), {})


def test_skipped_steps_are_counted() -> None:
    assert "2 steps were skipped" in page(dataclasses.replace(content(), skipped_steps=[3, 9]), {})


def test_our_scores_are_compared_with_the_papers() -> None:
    c = content(dataset="mosei")
    rows = {row[0]: list(row[1:]) for row in tables.paper(c).rows}

    # As the paper prints them: weighted accuracy, F1, GFLOPs.
    assert rows["FE2E"] == ["67.6", "47.4", "8.65"]
    assert rows["MESM, p = 0.5 (this model)"] == ["66.8", "46.8", "4.34"]
    assert rows["this run, test split"][0].startswith(f"{100 * c.scores['mean']['weighted_accuracy']:.1f} (")
    assert rows["this run, test split"][2] == "0.25"
    assert tables.paper(content(dataset="iemocap")).headings[1] == "accuracy"
    assert "Does not apply: the paper has no results on mini" in page(content(), {})


def test_thresholds_are_shown_with_their_effect_on_both_splits() -> None:
    c = content()
    score, truth, _ = c.decisions["valid"]

    row = tables.thresholds(c).rows[1]

    assert row[:4] == ["<sad>", "0.40", str(truth[:, 1].sum()), str((score[:, 1] > 0.4).sum())]
    assert row[-1] == f"{c.metrics['test']['per_label']['<sad>']['f1']:.3f}"


def test_kept_sites_are_not_called_an_explanation() -> None:
    assert "They do not explain its decision" in page(content(), {})
    assert "They do not explain its decision" not in page(content(cost=False), {})


def test_a_config_is_shown_as_flags_take_it() -> None:
    config = {"seed": 0, "optim": {"lr": 5e-4, "name": "adam"}, "model": {"text": {"dir": ""}}}

    assert tables.settings(dataclasses.replace(content(), config=config)).rows == [
        ["seed", "0"],
        ["optim.lr", "0.0005"],
        ["optim.name", "adam"],
        ["model.text.dir", ""],
    ]

"""The model card has a header that the hub reads, and the scores of the run's report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from configs import lf_rnn, mini_dense
from mme2e_jax.errors import UserError
from mme2e_jax.export.model_card import render_card
from mme2e_jax.runs.load import Run, load_run
from tests.helpers.exports import LABELS, make_run

METRICS = ("f1", "auc", "weighted_accuracy", "accuracy")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the smallest model: it reads text only."""
    return make_run(tmp_path_factory.mktemp("card") / "my run", mini_dense, modalities="t")


@pytest.fixture(scope="module")
def trained(workdir: Path) -> Run:
    return load_run(workdir, devices=1)


def report(step: int = 0) -> dict[str, Any]:
    """Scores of which each is another number; nothing is known of the AUC of "fear"."""
    values = {label: {name: 0.1 * i + 0.01 * k for k, name in enumerate(METRICS)} for i, label in enumerate(LABELS)}
    bounds: dict[str, Any] = {label: {name: {"low": 0.0, "high": 0.75} for name in METRICS} for label in LABELS}
    scores: dict[str, Any] = {"utterances": 22, "always_f1": 0.274, "per_label": values}
    scores["per_label"]["fear"]["auc"] = None
    bounds["fear"]["auc"] = {"low": None, "high": None}
    mean = {"f1": 0.57819, "auc": 0.864, "weighted_accuracy": None, "accuracy": 0.848}
    intervals = {"mean": {name: {"low": 0.4, "high": 0.95} for name in METRICS}, "per_label": bounds}
    return {"step": step, "test": scores | {"mean": mean}, "intervals": {"level": 0.95, "test": intervals}}


def card(trained: Run, directory: Path, content: dict[str, Any] | None) -> Any:
    directory.mkdir(exist_ok=True)
    if content is not None:
        (directory / "report").mkdir()
        (directory / "report" / "metrics.json").write_text(json.dumps(content))
    # Raises on a header that is no YAML, or whose scores lack what the hub asks for.
    return ModelCard(render_card(trained, directory))


def test_the_header_has_the_scores_as_a_model_index(trained: Run, tmp_path: Path) -> None:
    data = card(trained, tmp_path / "first try", report()).data

    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "mme2e_jax", "text-classification")
    assert data.tags == ["emotion-recognition", "multimodal", "jax", "mme2e"]
    assert data.model_name == "first try"
    assert data.eval_results is not None
    found = [(r.dataset_type, r.dataset_split, r.metric_type, r.metric_value) for r in data.eval_results]
    # An undefined score is left out.
    assert found == [
        ("mini", "test", "f1", 0.5782),
        ("mini", "test", "roc_auc", 0.864),
        ("mini", "test", "accuracy", 0.848),
    ]


def test_the_table_has_scores_intervals_and_thresholds(trained: Run, tmp_path: Path) -> None:
    text = card(trained, tmp_path / "run", report()).text

    cells = {
        row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in text.splitlines()
        if row.startswith("|")
    }
    assert cells["label"] == ["F1", "ROC AUC", "balanced accuracy", "accuracy", "decision threshold"]
    assert cells["disgust"] == [*(f"{x} (0.00 to 0.75)" for x in ("0.100", "0.110", "0.120", "0.130")), "0.35"]
    assert cells["fear"][1] == "–"
    assert cells["**mean**"][:2] == ["0.578 (0.40 to 0.95)", "0.864 (0.40 to 0.95)"]
    assert "Test split, 22 utterances. In parentheses: 95 % bootstrap" in text
    assert "0.274" in text


def test_a_card_says_where_scores_are_missing(trained: Run, tmp_path: Path) -> None:
    for name, content in {"none": None, "of another checkpoint": report(step=7)}.items():
        found = card(trained, tmp_path / name, content)
        assert found.data.eval_results is None
        assert "None: the run has no report of this checkpoint." in found.text


def test_a_damaged_report_is_refused(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.json is damaged or was edited: test is missing.* Evaluate the run"):
        card(trained, tmp_path / "run", {"step": 0, "intervals": report()["intervals"]})


def test_the_card_shows_how_to_use_the_model_and_for_what(trained: Run, tmp_path: Path) -> None:
    text = card(trained, tmp_path / "run", None).text

    assert "with Predictor.from_pretrained(" in text
    assert "anger, disgust, fear, happy, sad, surprise) from\ntext." in text
    for section in ("How to use", "Training data", "Intended use", "Limits", "Scores", "License"):
        assert f"\n## {section}\n" in text
    assert "one face in several variants" in text
    assert "Do not use the model to decide about people" in text


def test_weights_from_other_data_have_no_license_of_ours(trained: Run, tmp_path: Path) -> None:
    def changed(section: str, **values: str) -> Run:
        part = dataclasses.replace(getattr(trained.config, section), **values)
        return trained._replace(config=dataclasses.replace(trained.config, **{section: part}))

    for name, run in {"mosei": changed("data", dataset="mosei"), "start": changed("init", checkpoint="other")}.items():
        found = card(run, tmp_path / name, None)
        assert found.data.license == "other"
        assert "Replace `license: other`" in found.text
    assert "trained on CMU-MOSEI" in card(changed("data", dataset="mosei"), tmp_path / "mosei", None).text


def test_labels_have_no_effect_as_markdown(trained: Run, tmp_path: Path) -> None:
    labels = ("a|b", "<script>", "[x](y)", "two\nlines", "*", "plain")
    record = dataclasses.replace(trained.record, label_names=list(labels), thresholds={})
    content = report()
    for part in (content["test"], content["intervals"]["test"]):
        part["per_label"] = dict(zip(labels, part["per_label"].values(), strict=True))

    text = card(trained._replace(record=record), tmp_path / "run", content).text

    rows = [row for row in text.splitlines() if row.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == [
        r"| a\|b",
        r"| \<script\>",
        r"| \[x\](y)",
        "| two lines",
        r"| \*",
        "| plain",
        "| **mean**",
    ]


def test_a_baseline_reads_no_clips(tmp_path: Path) -> None:
    workdir = make_run(tmp_path / "run", lf_rnn)

    found = card(load_run(workdir, devices=1), workdir, None)

    assert found.data.pipeline_tag is None
    assert "Evaluate it on prepared records with" in found.text
    assert "from_pretrained" not in found.text

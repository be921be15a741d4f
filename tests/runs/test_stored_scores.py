"""Scores that the report of a run holds."""

import json
from pathlib import Path

import pytest

from mme2e_jax.runs.stored_scores import read_scores

CONTENT = {
    "step": 3,
    "test": {"mean": {"f1": 0.5, "auc": None}, "per_label": {"sad": {"f1": 0.5}}, "utterances": 9, "always_f1": 0.4},
    "intervals": {"level": 0.95, "test": {"mean": {"f1": {"low": 0.4, "high": 0.6}}, "per_label": {}}},
    "valid": "not read",
}


def write(workdir: Path, content: object) -> None:
    (workdir / "report").mkdir(exist_ok=True)
    (workdir / "report" / "metrics.json").write_text(json.dumps(content))


def test_scores_and_intervals_are_those_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    report = read_scores(tmp_path, 3)
    assert report is not None
    assert report.test.mean == {"f1": 0.5, "auc": None}
    assert report.intervals.test.mean["f1"].high == 0.6


def test_a_missing_report_and_that_of_another_checkpoint_are_none(tmp_path: Path) -> None:
    assert read_scores(tmp_path, 3) is None
    write(tmp_path, CONTENT)
    assert read_scores(tmp_path, 4) is None


def test_a_damaged_report_is_an_error_that_names_the_value(tmp_path: Path) -> None:
    write(tmp_path, CONTENT | {"step": "three"})
    with pytest.raises(ValueError, match="step"):
        read_scores(tmp_path, 3)

"""Scores that the report of a run holds."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mme2e_jax.checkpoints.metadata import MeanAuc
from mme2e_jax.runs.stored_scores import read_scores, read_test_auc

CONTENT: dict[str, Any] = {
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


def with_auc(value: float | None, **interval: object) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    content["test"]["mean"]["auc"] = value
    content["intervals"]["test"]["mean"] = interval
    return content


def test_the_auc_on_the_test_split_is_that_of_the_report(tmp_path: Path) -> None:
    write(tmp_path, with_auc(0.7, auc={"low": 0.6, "high": 0.8}))
    assert read_test_auc(tmp_path, 3) == MeanAuc(value=0.7, low=0.6, high=0.8)
    write(tmp_path, with_auc(0.0))
    assert read_test_auc(tmp_path, 3) == MeanAuc(value=0.0, low=None, high=None)


def test_an_auc_that_is_undefined_missing_or_damaged_is_none(tmp_path: Path) -> None:
    assert read_test_auc(tmp_path, 3) is None
    write(tmp_path, with_auc(None))
    assert read_test_auc(tmp_path, 3) is None
    write(tmp_path, with_auc(0.7))
    assert read_test_auc(tmp_path, 4) is None
    write(tmp_path, with_auc(7.0))
    assert read_test_auc(tmp_path, 3) is None
    (tmp_path / "report" / "metrics.json").write_text("{")
    assert read_test_auc(tmp_path, 3) is None

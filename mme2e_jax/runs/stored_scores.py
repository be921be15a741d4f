"""Reads the scores and intervals that the report of a run holds."""

from pathlib import Path

from mme2e_jax.checkpoints.hub import HubModel, is_export
from mme2e_jax.checkpoints.metadata import MeanAuc
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.json_schema import JsonObject, parse_json

REPORT = Path("report", "metrics.json")  # in a run directory


class Interval(JsonObject):
    """A confidence interval; None if the score is undefined."""

    low: float | None
    high: float | None


class MeanScores(JsonObject):
    """Scores, means over the labels; None if undefined."""

    mean: dict[str, float | None]


class MeanIntervals(JsonObject):
    """Intervals of the same scores."""

    mean: dict[str, Interval]


class SplitScores(MeanScores):
    """Scores of a split."""

    per_label: dict[str, dict[str, float | None]]
    utterances: int
    always_f1: float  # of the all-positive baseline


class SplitIntervals(MeanIntervals):
    """Intervals of the same scores."""

    per_label: dict[str, dict[str, Interval]]


class ReportIntervals(JsonObject):
    """Intervals of the test split."""

    level: float
    test: SplitIntervals


class StoredReport(JsonObject):
    """The part of `metrics.json` that describes a model to its users."""

    step: int
    test: SplitScores
    intervals: ReportIntervals


def read_scores(workdir: Path, step: int) -> StoredReport | None:
    """The report of a run's checkpoint `step`; None if there is none, or of another checkpoint.

    Raises `ValueError` if the report is damaged, and `OSError` if it cannot be read.
    """
    path = workdir / REPORT
    if not path.is_file():
        return None
    report = parse_json(StoredReport, path.read_bytes())
    return report if report.step == step else None


def read_test_auc(directory: Path, step: int) -> MeanAuc | None:
    """The mean ROC-AUC on the test split of the checkpoint `step` of a run, or of a shared model.

    It is that of the report, or else the one that was stored with a shared model. None if neither is known: an
    unreadable report counts as none.
    """
    try:
        report = read_scores(directory, step)
        if report is not None:
            value, interval = report.test.mean.get("auc"), report.intervals.test.mean.get("auc")
            low, high = (interval.low, interval.high) if interval else (None, None)
            return None if value is None else MeanAuc(value=value, low=low, high=high)
        model = HubModel(directory) if is_export(directory) else None
    except (OSError, ValueError, UserError):
        return None
    return model.test_auc if model and model.step == step else None

"""Remarks on models whose answers mean little."""

from pathlib import Path

from mme2e_jax.constants import EMBEDDED
from mme2e_jax.evaluation.metrics import THRESHOLD_GRID, Task
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.predict.model import ClipModel
from mme2e_jax.runs.stored_scores import read_scores

DEFAULT_THRESHOLD = 0.5
_CHANCE, _NEAR_CHANCE = 0.5, 0.55  # ROC-AUC


def remarks(model: ClipModel) -> list[str]:
    """Sentences about the model itself, for every prediction with it."""
    found = []
    if model.dataset in EMBEDDED:
        found.append("The model learned from one synthetic face and voice: its answers on others mean little.")
    if model.chance_remark:
        found.append(model.chance_remark)
    if TASKS[model.loss] is Task.SINGLE_LABEL:
        return found
    if not model.thresholds:
        found.append(f"The model has no thresholds (imported weights): {DEFAULT_THRESHOLD} is used.")
    low, high = THRESHOLD_GRID[0], THRESHOLD_GRID[-1]
    if names := [name for name in model.label_names if model.thresholds.get(name) in (low, high)]:
        thresholds = ", ".join(f"{name} {model.thresholds[name]:g}" for name in names)
        found.append(
            f"Thresholds at an end of the range that was tried, {low:g} to {high:g}: {thresholds}. The validation "
            "split did not determine them; compare the scores instead."
        )
    return found


def read_chance_remark(workdir: Path, step: int) -> str:
    """A sentence if the report of a run says that its checkpoint `step` may rank no better than chance; else empty."""
    try:
        report = read_scores(workdir, step)
    except (OSError, ValueError):
        # A prediction needs no report.
        return ""
    if report is None or (auc := report.test.mean.get("auc")) is None:
        return ""
    around = report.intervals.test.mean.get("auc")
    low = auc if around is None or around.low is None else around.low
    if low > _CHANCE and auc >= _NEAR_CHANCE:
        return ""
    interval = "" if around is None or around.low is None else f" (interval {low:.2f} to {around.high:.2f})"
    return (
        f"The model may know no more than chance: the mean ROC-AUC on its test split is {auc:.2f}{interval}; chance "
        f"is {_CHANCE:g}."
    )

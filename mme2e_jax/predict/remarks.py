"""Remarks on models whose answers mean little."""

from mme2e_jax.checkpoints.metadata import MeanAuc
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.evaluation.metrics import THRESHOLD_GRID, Task
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.predict.model import ClipModel

DEFAULT_THRESHOLD = 0.5
_CHANCE, _NEAR_CHANCE = 0.5, 0.55  # ROC-AUC


def remarks(model: ClipModel) -> list[str]:
    """Sentences about the model itself, for every prediction with it."""
    found = []
    if model.dataset in EMBEDDED:
        found.append("The model learned from one synthetic face and voice: its answers on others mean little.")
    if model.test_auc and (remark := _chance_remark(model.test_auc)):
        found.append(remark)
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


def _chance_remark(auc: MeanAuc) -> str:
    """A sentence if a model may rank no better than chance; else empty."""
    low = auc.value if auc.low is None else auc.low
    if low > _CHANCE and auc.value >= _NEAR_CHANCE:
        return ""
    interval = "" if auc.low is None or auc.high is None else f" (interval {auc.low:.2f} to {auc.high:.2f})"
    return (
        f"The model may know no more than chance: the mean ROC-AUC on its test split is {auc.value:.2f}{interval}; "
        f"chance is {_CHANCE:g}."
    )

"""The course of a run: its last checkpoint and its step log."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.checkpoints.reader import Checkpoints, RunRecord
from mme2e_jax.training.step_log import FILE

# Points of a curve at most: enough for any screen.
_POINTS = 1000


class Training(NamedTuple):
    """Losses and scores of a run."""

    steps: Sequence[tuple[float, float]]  # epochs done after a step, and its loss; means where there are many
    loss: Sequence[float]  # mean of each epoch
    scores: Mapping[str, Sequence[float | None]]  # of the validation after each epoch, mean over the labels, by name
    best: int  # epochs before the checkpoint that is reported


def last_record(workdir: str | Path) -> RunRecord | None:
    """What the last checkpoint says, which knows of epochs after the best one; None if there is none.

    All processes of a run call it.
    """
    checkpoints = Checkpoints(Path(workdir))
    last = checkpoints.latest_step
    return None if last is None else checkpoints.record(last)


def course(workdir: str | Path, history: Sequence[Mapping], epochs: int, steps: int) -> Training | None:
    """The course of a run; None where nothing was trained.

    Args:
      workdir: of the run.
      history: of the last checkpoint's record.
      epochs, steps: before the checkpoint that is reported, which ends an epoch.
    """
    if not epochs:
        return None
    steps_per_epoch = steps / epochs
    return Training(
        steps=[((step + 1) / steps_per_epoch, loss) for step, loss in thinned(step_losses(Path(workdir) / FILE))],
        loss=[entry["train_loss"] for entry in history],
        scores={name: [entry["valid"][key] for entry in history] for name, key in (("F1", "f1"), ("AUC", "auc"))},
        best=epochs,
    )


def thinned(losses: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Steps and losses, means over neighbours where there are more than a picture has room for."""
    together = -(-len(losses) // _POINTS)
    parts = [losses[start : start + together] for start in range(0, len(losses), together or 1)]
    return [(sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part)) for part in parts]


def step_losses(path: Path) -> list[tuple[int, float]]:
    """Steps and their losses from a log, as far as it can be read; nothing if there is none."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            found.append((int(entry["step"]), float(entry["loss"])))
        except (ValueError, TypeError, KeyError):
            # A loss that was not finite, or a line that was cut off.
            continue
    return found

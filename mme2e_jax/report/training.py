"""The course of a run, from its last checkpoint and its log of steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.checkpoint import Checkpoints, RunRecord
from mme2e_jax.step_log import FILE


class Training(NamedTuple):
    """Losses and scores of a run."""

    steps: Sequence[tuple[float, float]]  # epochs done after a step, and its loss
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
        steps=[((step + 1) / steps_per_epoch, loss) for step, loss in step_losses(Path(workdir) / FILE)],
        loss=[entry["train_loss"] for entry in history],
        scores={name: [entry["valid"][key] for entry in history] for name, key in (("F1", "f1"), ("AUC", "auc"))},
        best=epochs,
    )


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

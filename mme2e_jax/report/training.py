"""Reads the losses and scores of a run for its report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.checkpoints.reader import Checkpoints, RunRecord
from mme2e_jax.training.step_log import FILE

_POINTS = 1000  # maximum number of points of a curve, enough for any screen


class Training(NamedTuple):
    """Losses and scores of a run."""

    steps: Sequence[tuple[float, float]]  # finished epochs and loss after each step; means of neighbours in long runs
    loss: Sequence[float]  # mean of each epoch
    scores: Mapping[str, Sequence[float | None]]  # by name: validation score after each epoch, mean over the labels
    best: int  # epochs before the reported checkpoint


def last_record(workdir: str | Path) -> RunRecord | None:
    """The record of the last checkpoint, with epochs after the best one; None without any. All processes call it."""
    checkpoints = Checkpoints(Path(workdir))
    last = checkpoints.find_latest_step()
    return None if last is None else checkpoints.read_record(last)


def read_training(workdir: str | Path, history: Sequence[Mapping], epochs: int, steps: int) -> Training | None:
    """Reads the losses and scores of a run; None if nothing was trained.

    `history` is that of the last checkpoint, `epochs` and `steps` those before the reported one, which ends an epoch.
    """
    if not epochs:
        return None
    steps_per_epoch = steps / epochs
    return Training(
        steps=[((step + 1) / steps_per_epoch, loss) for step, loss in thin_out(read_step_losses(Path(workdir) / FILE))],
        loss=[entry["train_loss"] for entry in history],
        scores={name: [entry["valid"][key] for entry in history] for name, key in (("F1", "f1"), ("AUC", "auc"))},
        best=epochs,
    )


def thin_out(losses: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Averages neighbours if there are more steps than a figure can show."""
    together = -(-len(losses) // _POINTS)
    parts = [losses[start : start + together] for start in range(0, len(losses), together or 1)]
    return [(sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part)) for part in parts]


def read_step_losses(path: Path) -> list[tuple[int, float]]:
    """Reads steps and losses from a log; skips invalid lines, and returns nothing for a missing file."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            found.append((int(entry["step"]), float(entry["loss"])))
        except (ValueError, TypeError, KeyError):
            # A loss that was not finite, or a truncated line.
            continue
    return found

"""One line of JSON per training step, for scripts: loss, gradient norm, and where the time went."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.files import write_text
from mme2e_jax.training.step import StepMetrics

FILE = "steps.jsonl"


class StepLog:
    """Writes `steps.jsonl`; what a killed run wrote beyond the checkpoint is written again."""

    def __init__(self, workdir: Path, start: int):
        """Args: workdir: of the run; start: step to go on from."""
        path = workdir / FILE
        known = path.read_text().splitlines() if path.exists() else []
        # Line n is step n: a run logs every step it ever made.
        kept = "".join(f"{line}\n" for line in known[:start])
        write_text(path, kept)
        # Line by line, so that a kill loses none.
        self._file = path.open("a", buffering=1)

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        """Writes the step's line."""
        entry = {
            "step": step,
            "loss": _finite(metrics.loss),
            "gradient_norm": _finite(metrics.gradient_norm),
            "seconds": {what: round(value, 6) for what, value in seconds.items()},
        }
        self._file.write(f"{json.dumps(entry)}\n")

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _finite(value: object) -> float | None:
    """The value; None where JSON has no number for it."""
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None

"""Logs loss, gradient norm and times of every step as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mme2e_jax.runtime.files import write_text
from mme2e_jax.training.hooks import Hook
from mme2e_jax.training.step import StepMetrics

FILE = "steps.jsonl"


class StepLog(Hook):
    """Writes `steps.jsonl`; lines after the last checkpoint of a killed run are replaced."""

    def __init__(self, workdir: Path, start: int):
        """Args: workdir: run directory; start: first step that will be logged."""
        path = workdir / FILE
        known = path.read_text().splitlines() if path.exists() else []
        # Line n is step n.
        write_text(path, "".join(f"{line}\n" for line in known[:start]))
        # Line buffering, so that a kill loses no complete line.
        self._file = path.open("a", buffering=1)

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        entry = {
            "step": step,
            "loss": _finite(metrics.loss),
            "gradient_norm": _finite(metrics.gradient_norm),
            "seconds": {name: round(value, 6) for name, value in seconds.items()},
        }
        self._file.write(f"{json.dumps(entry)}\n")

    def close(self) -> None:
        self._file.close()


def _finite(value: object) -> float | None:
    """The value; None for a value that JSON cannot represent."""
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None

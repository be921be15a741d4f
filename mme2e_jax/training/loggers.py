"""Logs named scalars to TensorBoard and Weights & Biases.

Groups of names: `train`, `valid`, `valid_f1`, `valid_auc`, `threshold`, `active_sites` and `seconds`, before a slash.
"""

import abc
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.files import write_text
from mme2e_jax.training.hooks import Hook
from mme2e_jax.training.step import StepMetrics

WANDB_FILE = "wandb_run.txt"  # in the run directory: the W&B project and run id


def step_scalars(metrics: StepMetrics, seconds: Mapping[str, float]) -> dict[str, float]:
    """Scalars of a training step: loss, gradient norm, share of active sites per sparse stage, and times."""
    active = {
        f"active_sites/{MODALITY_NAMES[m]}_stage_{k}": float(share)
        for m, stages in metrics.active.items()
        for k, share in enumerate(stages)
    }
    train = {"train/loss": float(metrics.loss), "train/gradient_norm": float(metrics.gradient_norm)}
    return train | active | {f"seconds/{name}": value for name, value in seconds.items()}


def epoch_scalars(loss: float, valid: Metrics) -> dict[str, float]:
    """Mean loss, mean scores, and F1, AUC and threshold of each emotion; undefined scores are left out."""
    named = {"train/epoch_loss": loss} | {f"valid/{name}": value for name, value in valid.mean.items()}
    for label, values in valid.per_label.items():
        named |= {f"valid_{name}/{label}": values[name] for name in ("f1", "auc")}
    named |= {f"threshold/{label}": value for label, value in valid.thresholds.items()}
    return {name: float(value) for name, value in named.items() if not np.isnan(value)}


class ScalarLog(Hook, abc.ABC):
    """Logs the scalars of all epochs, and of every step whose number `every_steps` divides."""

    def __init__(self, every_steps: int):
        self._every = every_steps

    @abc.abstractmethod
    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of step `step`, or those of an epoch after `step` steps."""

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        if step % self._every == 0:
            self.write(step, step_scalars(metrics, seconds))

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        self.write(step, epoch_scalars(loss, valid))


class TensorBoard(ScalarLog):
    """Writes TensorBoard event files."""

    def __init__(self, every_steps: int, directory: Path):
        super().__init__(every_steps)
        self._writer = tf.summary.create_file_writer(str(directory))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        with self._writer.as_default(step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases(ScalarLog):
    """Logs to a run of a W&B project and resumes it when the run directory is resumed.

    The x axis of all plots is a scalar `step`: W&B's own counter only grows, and would drop steps that are repeated.
    """

    def __init__(self, every_steps: int, project: str, workdir: Path, config: Mapping[str, Any]):
        """Opens the W&B run, whose id `workdir` stores; raises `UserError` if W&B refuses it or cannot be reached."""
        super().__init__(every_steps)
        # An optional package; config.preflight has checked that it is installed.
        wandb: Any = importlib.import_module("wandb")
        known = workdir / WANDB_FILE
        before, _, run_id = known.read_text().strip().partition(" ") if known.exists() else ("", "", "")
        try:
            self._run = wandb.init(
                project=project,
                dir=workdir,
                config=dict(config),
                id=run_id if before == project else None,
                name=workdir.absolute().name,
                resume="allow",
                allow_val_change=True,
                # W&B neither prints to our output nor captures it.
                settings=wandb.Settings(quiet=True, console="off"),
            )
        except wandb.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"config.log.wandb: Weights & Biases did not open a run in the project {project!r}: {reason} "
                "Log in with `wandb login`, or set WANDB_MODE=offline and upload the run later with `wandb sync`."
            ) from error
        write_text(known, f"{project} {self._run.id}\n")
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self._run.define_metric("valid/f1", step_metric="step", summary="max")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def close(self) -> None:
        self._run.finish()

"""What is drawn over a run's steps: named scalars, for TensorBoard and for Weights & Biases.

A name's part before the slash is its group: `train`, `valid`, `valid_f1`, `valid_auc`, `threshold`, `active_sites`,
`seconds`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.files import write_text
from mme2e_jax.training.step import StepMetrics

# In the run's directory: the project, and the id that W&B knows the run by.
WANDB_FILE = "wandb_run.txt"


def of_step(metrics: StepMetrics, seconds: Mapping[str, float]) -> dict[str, float]:
    """Scalars of a training step: loss, gradient norm, share of sites that each sparse stage worked on, and times.

    Args:
      metrics: on the host.
      seconds: as `Clock.lap` has them.
    """
    active = {
        f"active_sites/{MODALITY_NAMES[m]}_stage_{k}": float(share)
        for m, stages in metrics.active.items()
        for k, share in enumerate(stages)
    }
    train = {"train/loss": float(metrics.loss), "train/gradient_norm": float(metrics.gradient_norm)}
    return train | active | {f"seconds/{what}": value for what, value in seconds.items()}


def of_epoch(loss: float, valid: Metrics) -> dict[str, float]:
    """Scalars of an epoch: mean training loss, mean scores, F1, AUC and threshold of each emotion.

    A score that does not exist, such as the AUC of an emotion that the split does not have, is left out.
    """
    named = {"train/epoch_loss": loss} | {f"valid/{name}": value for name, value in valid.mean.items()}
    for label, values in valid.per_label.items():
        named |= {f"valid_{name}/{label}": values[name] for name in ("f1", "auc")}
    named |= {f"threshold/{label}": value for label, value in valid.thresholds.items()}
    return {name: float(value) for name, value in named.items() if not np.isnan(value)}


class Sink(Protocol):
    """Where scalars go."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes what is known after `step` steps, or of step `step`."""

    def close(self) -> None:
        """Nothing follows."""


class ScalarLog:
    """The hook: scalars of some steps and of all epochs, to a sink."""

    def __init__(self, sink: Sink, every_steps: int):
        """Args: every_steps: how often those of a step are written."""
        self._sink, self._every = sink, every_steps

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        """Writes the step's scalars if it is its turn."""
        if step % self._every == 0:
            self._sink.write(step, of_step(metrics, seconds))

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        """Writes the epoch's scalars."""
        self._sink.write(step, of_epoch(loss, valid))

    def close(self) -> None:
        """Closes the sink."""
        self._sink.close()


class TensorBoard:
    """Event files."""

    def __init__(self, directory: Path):
        """Args: directory: of the files."""
        self._writer = tf.summary.create_file_writer(str(directory))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds to the event file."""
        with self._writer.as_default(step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run in a W&B project, which goes on where the work directory's run goes on.

    Steps are a scalar of their own, `step`, over which W&B draws all others: its own counter may only grow, and would
    drop what a run that was killed does a second time.
    """

    def __init__(self, project: str, workdir: Path, config: Mapping[str, Any]):
        """Opens the run.

        Args:
          project: name of the W&B project.
          workdir: of the run; the run's id is kept there.
          config: shown beside the curves.

        Raises:
          UserError: if W&B refuses the run or cannot be reached.
        """
        # Not a requirement: whoever asks for it has installed it (see `prerequisites`).
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
                # What W&B prints stays off log files, and what is printed here stays out of its hands.
                settings=wandb.Settings(quiet=True, console="off"),
            )
        except wandb.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"config.log.wandb: Weights & Biases did not open a run in the project {project!r}: {reason} "
                "Log in with `wandb login`, or set WANDB_MODE=offline to keep the run on this disk and send it later "
                "with `wandb sync`."
            ) from error
        write_text(known, f"{project} {self._run.id}\n")
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self._run.define_metric("valid/f1", step_metric="step", summary="max")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Sends the scalars."""
        self._run.log({"step": step, **scalars})

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()

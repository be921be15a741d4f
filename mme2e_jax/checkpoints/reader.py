"""Reads checkpoints: the best by mean validation F1, and the last ones.

A checkpoint holds the variables, the optimiser's state, and everything that evaluation needs to know: config, label
names, thresholds, preprocessing. Evaluation restores it without the data it was trained on. Those from within an epoch
are for going on alone: only one that ends an epoch has scores, by which the best is chosen.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from mme2e_jax.checkpoints import digests
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import TrainState, Variables
from mme2e_jax.runtime import pytree
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.json_schema import parse_json

FORMAT_VERSION = 2
DIRECTORY = "checkpoints"
ITEMS = ("variables", "optimizer", "record")
# Imported weights lie at the step of no updates; training saves at the end of epochs.
IMPORTED_STEP = 0


@dataclasses.dataclass
class RunRecord:
    """What a checkpoint says about its run, beside the arrays."""

    config: dict[str, Any]
    label_names: list[str]
    tokenizer: dict[str, Any]  # what is known of it, of imported weights not all
    preprocessing: dict[str, Any]
    thresholds: dict[str, float]  # chosen on the validation split at this epoch; empty for imported weights
    history: list[dict[str, Any]]  # one entry per validated epoch so far
    fingerprint: str = ""  # of the training data; empty for imported weights
    losses: list[float] = dataclasses.field(default_factory=list)  # of the steps since the last validation
    skipped: list[int] = dataclasses.field(default_factory=list)  # steps that were not learned from
    format_version: int = FORMAT_VERSION


class Checkpoints:
    """The checkpoints of a run, to be read: also while the run goes on."""

    def __init__(self, workdir: Path):
        """Args: workdir: of the run."""
        self.directory = Path(workdir).absolute() / DIRECTORY
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        for item in ("variables", "optimizer"):
            handlers.add(item, ocp.args.StandardRestore, ocp.StandardCheckpointHandler())
        handlers.add("record", ocp.args.JsonRestore, ocp.JsonCheckpointHandler())
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler(handler_registry=handlers))

    @property
    def steps(self) -> list[int]:
        """All that there are, damaged or not, in ascending order."""
        return stored_steps(self.directory)

    @property
    def latest_step(self) -> int | None:
        """The last one that is not damaged."""
        return self._first_whole(reversed(self.steps))

    @property
    def best_step(self) -> int | None:
        """The best by validation F1 that is not damaged."""
        merits = {step: _stored_merit(self.directory / str(step)) for step in self.steps}
        ranked = sorted((merit, step) for step, merit in merits.items() if merit is not None)
        return self._first_whole(step for _, step in reversed(ranked))

    def _first_whole(self, steps: Iterable[int]) -> int | None:
        for step in steps:
            reason = digests.damage(self.directory / str(step))
            if reason is None:
                return step
            console.print(f"Warning: the checkpoint {self.directory / str(step)} is left out: {reason}.")
        return None

    def record(self, step: int) -> RunRecord:
        """What a checkpoint says about its run.

        Raises:
          UserError: if another version of this program wrote it, or it is invalid.
        """
        stored = self._restore(step, record=ocp.args.JsonRestore())["record"]
        if stored.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.directory}/{step} has format version {stored.get('format_version')}, expected "
                f"{FORMAT_VERSION}: use the version of mme2e_jax that wrote it."
            )
        try:
            return parse_json(RunRecord, json.dumps(stored))
        except ValueError as error:
            raise UserError(
                f"The record of {self.directory}/{step} is damaged or was edited: {error}. Use another checkpoint, or "
                "train again."
            ) from error

    def restore_arrays(self, step: int) -> dict[str, np.ndarray]:
        """Variables of a checkpoint by name, on the host, for any model."""
        stored = ocp.StandardCheckpointHandler().metadata(epath.Path(self.directory / f"{step}/variables")).tree
        like = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
        return self._restore(step, variables=ocp.args.StandardRestore(like))["variables"]

    def restore_variables(self, step: int, like: Variables) -> Variables:
        """Variables of a checkpoint, placed as the (abstract) arrays of `like`."""
        restored = self._restore(step, variables=ocp.args.StandardRestore(like.arrays()))
        return like.with_arrays(restored["variables"])

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """Everything that training goes on from, placed as the (abstract) arrays of `like`."""
        restored = self._restore(
            step,
            variables=ocp.args.StandardRestore(like.variables.arrays()),
            optimizer=ocp.args.StandardRestore(pytree.flatten(like.optimizer)),
        )
        optimizer = pytree.unflatten(like.optimizer, restored["optimizer"])
        done = jax.device_put(np.asarray(step, like.step.dtype), like.step.sharding)
        return TrainState(done, like.variables.with_arrays(restored["variables"]), optimizer)

    def _restore(self, step: int, **items: Any) -> Any:
        return self._checkpointer.restore(self.directory / str(step), args=ocp.args.Composite(**items))


def open_run(workdir: str | Path) -> tuple[Checkpoints, int]:
    """The checkpoints of a finished or unfinished run, and the step of the best.

    Raises:
      UserError: if the directory holds none.
    """
    workdir = Path(workdir)
    if not (workdir / DIRECTORY).is_dir():
        found = (
            f"holds {', '.join(sorted(p.name for p in workdir.iterdir())) or 'nothing'}"
            if workdir.is_dir()
            else "does not exist"
        )
        raise UserError(f"Expected the directory of a training run with {DIRECTORY}/ in it; {workdir} {found}.")
    checkpoints = Checkpoints(workdir)
    step = checkpoints.best_step
    if step is None:
        raise UserError(
            f"{checkpoints.directory} holds no finished checkpoint: the run ended before its first epoch did."
        )
    return checkpoints, step


def merit(metrics: dict[str, float]) -> float:
    return metrics["f1"] - 1e-9 * metrics["epoch"]


def stored_steps(directory: Path) -> list[int]:
    """Steps that have a checkpoint, maybe a damaged one, in ascending order."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


def _stored_merit(checkpoint: Path) -> float | None:
    """By which the best is chosen; None if the checkpoint ends no epoch, or the file is damaged."""
    try:
        return merit(json.loads((checkpoint / "metrics" / "metrics").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Reads checkpoints: the best by mean validation F1, and the latest ones.

A checkpoint holds the variables, the optimiser's state, the variables of a teacher, and a record of all that evaluation
needs: config, label names, thresholds, preprocessing. Checkpoints from within an epoch or the dense phase serve to
resume only; those at the end of other epochs have the scores by which the best is chosen.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from mme2e_jax.runtime.files import require_utf8
from mme2e_jax.runtime.json_schema import parse_json

FORMAT_VERSION = 2
DIRECTORY = "checkpoints"
ITEMS = ("variables", "optimizer", "teacher", "record")
# The step of imported weights; training saves after its first step at the earliest.
IMPORTED_STEP = 0


@dataclasses.dataclass
class RunRecord:
    """The metadata of a checkpoint."""

    config: dict[str, Any]
    label_names: list[str]
    tokenizer: dict[str, Any]  # incomplete for imported weights
    preprocessing: dict[str, Any]
    thresholds: dict[str, float]  # chosen at this epoch; empty for imported weights
    history: list[dict[str, Any]]  # one entry per validated epoch so far
    fingerprint: str = ""  # of the training data; empty for imported weights
    losses: list[float] = dataclasses.field(default_factory=list)  # losses of the steps since the last validation
    skipped: list[int] = dataclasses.field(default_factory=list)  # steps skipped because of non-finite values
    format_version: int = FORMAT_VERSION


class Checkpoints:
    """Reads the checkpoints of a run, also while it goes on."""

    def __init__(self, workdir: Path):
        """Opens the checkpoints of the run directory `workdir`, which may have none yet."""
        self.directory = require_utf8(Path(workdir)) / DIRECTORY
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        for item in ("variables", "optimizer", "teacher"):
            handlers.add(item, ocp.args.StandardRestore, ocp.StandardCheckpointHandler())
        handlers.add("record", ocp.args.JsonRestore, ocp.JsonCheckpointHandler())
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler(handler_registry=handlers))

    def list_steps(self) -> list[int]:
        """The steps of all checkpoints, damaged or not, in ascending order."""
        return list_steps(self.directory)

    def find_latest_step(self) -> int | None:
        """The latest undamaged checkpoint."""
        return self._first_undamaged(reversed(self.list_steps()))

    def find_best_step(self) -> int | None:
        """The best undamaged checkpoint by validation F1."""
        ranks = {step: _stored_rank(self.directory / str(step)) for step in self.list_steps()}
        ranked = sorted((rank, step) for step, rank in ranks.items() if rank is not None)
        return self._first_undamaged(step for _, step in reversed(ranked))

    def _first_undamaged(self, steps: Iterable[int]) -> int | None:
        for step in steps:
            reason = digests.find_damage(self.directory / str(step))
            if reason is None:
                return step
            console.print(f"Warning: the checkpoint {self.directory / str(step)} is left out: {reason}.")
        return None

    def read_record(self, step: int) -> RunRecord:
        """The metadata of a checkpoint; raises `UserError` if it is invalid or has another format version."""
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

    def restore_arrays(self, step: int, item: str = "variables") -> dict[str, np.ndarray]:
        """Variables of a checkpoint, or of its "teacher", by path, on the host; the model need not be known."""
        with self._reading(step):
            stored = ocp.StandardCheckpointHandler().metadata(epath.Path(self.directory / f"{step}/{item}")).tree
            like = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
        return self._restore(step, **{item: ocp.args.StandardRestore(like)})[item]

    def restore_variables(self, step: int, like: Variables) -> Variables:
        """Variables of a checkpoint, sharded as the abstract arrays of `like`."""
        restored = self._restore(step, variables=ocp.args.StandardRestore(like.arrays()))
        return like.with_arrays(restored["variables"])

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """The training state of a checkpoint, sharded as the abstract arrays of `like`."""
        teacher = like.teacher
        restored = self._restore(
            step,
            variables=ocp.args.StandardRestore(like.variables.arrays()),
            optimizer=ocp.args.StandardRestore(pytree.flatten(like.optimizer)),
            **({} if teacher is None else {"teacher": ocp.args.StandardRestore(teacher.arrays())}),
        )
        optimizer = pytree.unflatten(like.optimizer, restored["optimizer"])
        done = jax.device_put(np.asarray(step, like.step.dtype), like.step.sharding)
        teacher = teacher and teacher.with_arrays(restored["teacher"])
        return TrainState(done, like.variables.with_arrays(restored["variables"]), optimizer, teacher)

    def _restore(self, step: int, **items: Any) -> Any:
        with self._reading(step):
            return self._checkpointer.restore(self.directory / str(step), args=ocp.args.Composite(**items))

    @contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns the library's errors, which are of many types, into `UserError`."""
        try:
            yield
        except Exception as error:
            reason = (str(error) or type(error).__name__).partition("\n")[0][:300]
            raise UserError(
                f"The checkpoint {self.directory}/{step} cannot be read: {reason}. Use another checkpoint, or train "
                "again."
            ) from error


def open_checkpoints(workdir: str | Path) -> tuple[Checkpoints, int]:
    """The checkpoints of a run, and the step of the best one; raises `UserError` if there are none."""
    workdir = Path(workdir)
    if not (workdir / DIRECTORY).is_dir():
        found = (
            f"holds {', '.join(sorted(p.name for p in workdir.iterdir())) or 'nothing'}"
            if workdir.is_dir()
            else "does not exist"
        )
        raise UserError(
            "Expected a model exported with --format=hub, or the directory of a training run with "
            f"{DIRECTORY}/ in it; {workdir} {found}."
        )
    checkpoints = Checkpoints(workdir)
    step = checkpoints.find_best_step()
    if step is None:
        raise UserError(
            f"{checkpoints.directory} holds no finished checkpoint of an epoch after the dense phase "
            "(config.optim.dense_epochs): the run ended earlier, or its checkpoints are damaged. Resume it with the "
            "command that started it."
        )
    return checkpoints, step


def rank(metrics: dict[str, float]) -> float:
    """The number by which the best checkpoint is chosen: F1, the earlier of equals."""
    return metrics["f1"] - 1e-9 * metrics["epoch"]


def list_steps(directory: Path) -> list[int]:
    """Steps with a checkpoint, damaged or not, in ascending order."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


def _stored_rank(checkpoint: Path) -> float | None:
    """The checkpoint's rank; None within an epoch, or if the file is damaged."""
    try:
        return rank(json.loads((checkpoint / "metrics" / "metrics").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None

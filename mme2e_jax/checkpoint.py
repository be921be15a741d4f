"""Checkpoints with Orbax: the best by mean validation F1 and the last ones.

A checkpoint holds the variables, the optimiser's state, and everything that evaluation needs to know: config, label
names, thresholds, preprocessing. Evaluation restores it without the data it was trained on. Those from within an epoch
are for going on alone: only one that ends an epoch has scores, by which the best is chosen.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from orbax.checkpoint.path import atomicity_types

from mme2e_jax import integrity, tree
from mme2e_jax.console import console
from mme2e_jax.errors import UserError
from mme2e_jax.processes import is_first, meet
from mme2e_jax.state import TrainState, Variables

FORMAT_VERSION = 2
DIRECTORY = "checkpoints"
DAMAGED = "damaged_checkpoints"
_ITEMS = ("variables", "optimizer", "record")
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


class CheckpointError(UserError):
    """A checkpoint could not be written."""


class CheckpointWriter:
    """Saves the checkpoints of the run that this process is."""

    def __init__(self, workdir: Path, keep_last: int = 1):
        """Takes a directory over; what a killed run left half written there is removed.

        Args:
          workdir: of the run; its directory of checkpoints appears with the first save.
          keep_last: newest checkpoints to keep, the best aside.

        Raises:
          UserError: if all checkpoints that are there are damaged.
        """
        self._directory = Path(workdir).absolute() / DIRECTORY
        _put_damaged_aside(Path(workdir).absolute())
        # Of epochs with equal F1 the first is the best, here and in the history.
        best = BestN(get_metric_fn=_merit, n=1, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_names=_ITEMS,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
                best_fn=_merit,
                cleanup_tmp_directories=True,
                # Within the checkpoint's temporary directory, just before it gets its name.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    def save(self, state: TrainState, record: RunRecord) -> None:
        """Starts to save in the background, under the number of steps done.

        Raises:
          CheckpointError: if this one cannot be written, or the one before could not.
        """
        step = int(state.step)
        metrics = None
        if not record.losses:
            epoch = record.history[-1]
            metrics = {"f1": epoch["valid"]["f1"], "epoch": epoch["epoch"]}
        with self._errors_told():
            if step in self._manager.all_steps():
                # The same step before its validation.
                self._manager.delete(step)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardSave(state.variables.arrays()),
                    optimizer=ocp.args.StandardSave(tree.flatten(state.optimizer)),
                    record=ocp.args.JsonSave(dataclasses.asdict(record)),
                ),
                metrics=metrics,
            )

    def save_imported(self, variables: Variables, record: RunRecord) -> None:
        """Starts to save weights that no training here made: to be evaluated or started from, not gone on with."""
        with self._errors_told():
            self._manager.save(
                IMPORTED_STEP,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardSave(variables.arrays()),
                    record=ocp.args.JsonSave(dataclasses.asdict(record)),
                ),
                # Of no meaning, but a checkpoint without them is never the best.
                metrics={"f1": 0.0, "epoch": 0},
            )

    def wait(self) -> None:
        """Returns once everything is on disk.

        Raises:
          CheckpointError: if that failed.
        """
        with self._errors_told():
            self._manager.wait_until_finished()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Says what errors of writing leave behind; the library raises many kinds of them."""
        try:
            yield
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            kept = ", ".join(str(step) for step in _stored_steps(self._directory))
            raise CheckpointError(
                f"A checkpoint could not be written to {self._directory}: {reason}. "
                + (f"Those of the steps {kept} are whole: " if kept else "There is none before it: ")
                + "see that the disk has space and can be written to, and give the same command again."
            ) from error

    def _seal(self) -> None:
        for unfinished in self._directory.glob(f"*{atomicity_types.TMP_DIR_SUFFIX}*"):
            integrity.seal(unfinished)


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
        return _stored_steps(self.directory)

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
            reason = integrity.damage(self.directory / str(step))
            if reason is None:
                return step
            console.print(f"Warning: the checkpoint {self.directory / str(step)} is left out: {reason}.")
        return None

    def record(self, step: int) -> RunRecord:
        """What a checkpoint says about its run.

        Raises:
          UserError: if another version of this program wrote it.
        """
        stored = self._restore(step, record=ocp.args.JsonRestore())["record"]
        if stored.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.directory}/{step} has format version {stored.get('format_version')}, expected "
                f"{FORMAT_VERSION}: use the version of mme2e_jax that wrote it."
            )
        return RunRecord(**stored)

    def restore_arrays(self, step: int) -> dict[str, np.ndarray]:
        """Variables of a checkpoint by name, on the host, whatever model they belong to."""
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
            optimizer=ocp.args.StandardRestore(tree.flatten(like.optimizer)),
        )
        optimizer = tree.unflatten(like.optimizer, restored["optimizer"])
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


def _merit(metrics: dict[str, float]) -> float:
    return metrics["f1"] - 1e-9 * metrics["epoch"]


def _stored_steps(directory: Path) -> list[int]:
    """Steps that have a checkpoint, maybe a damaged one, in ascending order."""
    return sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit())


def _stored_merit(checkpoint: Path) -> float | None:
    """By which the best is chosen; None if the checkpoint ends no epoch, or the file is damaged."""
    try:
        return _merit(json.loads((checkpoint / "metrics" / "metrics").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put_damaged_aside(workdir: Path) -> None:
    """Moves checkpoints whose files are not as they were written out of the way.

    Raises:
      UserError: if none is left.
    """
    found = [workdir / DIRECTORY / str(step) for step in _stored_steps(workdir / DIRECTORY)]
    damaged = {path: reason for path in found if (reason := integrity.damage(path))}
    meet("all processes have looked at the checkpoints")
    for path, reason in damaged.items():
        aside = workdir / DAMAGED / path.name
        console.print(f"Warning: the checkpoint {path} is damaged: {reason}. It was moved to {aside}.")
        if is_first():
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            path.rename(aside)
    meet("damaged checkpoints are out of the way")
    if damaged and len(damaged) == len(found):
        raise UserError(
            f"All checkpoints of {workdir} are damaged, see the warnings above. Give another --workdir to start anew."
        )

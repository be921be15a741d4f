"""Writes a run's checkpoints with Orbax, atomically and in the background."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from orbax.checkpoint.path import atomicity_types

from mme2e_jax.checkpoints import digests
from mme2e_jax.checkpoints.reader import DIRECTORY, IMPORTED_STEP, ITEMS, RunRecord, list_steps, rank
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import TrainState, Variables
from mme2e_jax.runtime import pytree
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first, wait_for_all
from mme2e_jax.runtime.files import require_utf8

DAMAGED = "damaged_checkpoints"


class CheckpointError(UserError):
    """A checkpoint could not be written."""


class CheckpointWriter:
    """Saves the checkpoints of the current run."""

    def __init__(self, workdir: Path, keep_last: int = 1):
        """Removes incomplete checkpoints of a killed run, and moves damaged ones away.

        The last `keep_last` checkpoints are kept, and the best. Raises `UserError` if all are damaged.
        """
        self._directory = require_utf8(Path(workdir)) / DIRECTORY
        _move_damaged(Path(workdir).absolute())
        best = BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_names=ITEMS,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
                best_fn=rank,
                cleanup_tmp_directories=True,
                # Called in the temporary directory, before the checkpoint gets its final name.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
            ),
        )

    def save(self, state: TrainState, record: RunRecord) -> None:
        """Starts to save under the number of steps; raises `CheckpointError` if this save or the last one fails."""
        step = int(state.step)
        metrics = None
        # At the end of an epoch that computed the sites of the final model.
        if not record.losses and len(record.history) > record.config.get("optim", {}).get("dense_epochs", 0):
            epoch = record.history[-1]
            metrics = {"f1": epoch["valid"]["f1"], "epoch": epoch["epoch"]}
        arrays = {"variables": state.variables.arrays(), "optimizer": pytree.flatten(state.optimizer)}
        if state.teacher:
            arrays["teacher"] = state.teacher.arrays()
        self._save(step, record, metrics, arrays)

    def save_imported(self, variables: Variables, record: RunRecord) -> None:
        """Starts to save imported weights."""
        # Without metrics a checkpoint is never the best.
        self._save(IMPORTED_STEP, record, {"f1": 0.0, "epoch": 0}, {"variables": variables.arrays()})

    def _save(
        self, step: int, record: RunRecord, metrics: dict[str, float] | None, arrays: dict[str, dict[str, Any]]
    ) -> None:
        items: dict[str, Any] = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
        items["record"] = ocp.args.JsonSave(dataclasses.asdict(record))
        with self._write_errors():
            if step in self._manager.all_steps():
                # The same step before its validation, which may still be written in the background.
                self._manager.wait_until_finished()
                self._manager.delete(step)
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def wait(self) -> None:
        """Waits until everything is on disk; raises `CheckpointError` if that failed."""
        with self._write_errors():
            self._manager.wait_until_finished()

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Turns the library's errors, which are of many types, into `CheckpointError`."""
        try:
            yield
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            kept = ", ".join(str(step) for step in list_steps(self._directory))
            raise CheckpointError(
                f"A checkpoint could not be written to {self._directory}: {reason}. "
                + (f"The checkpoints of steps {kept} are complete. " if kept else "There is no earlier one. ")
                + "Check that the disk has space and is writable, and run the same command again."
            ) from error

    def _write_digests(self) -> None:
        for unfinished in self._directory.glob(f"*{atomicity_types.TMP_DIR_SUFFIX}*"):
            digests.write_digests(unfinished)


def _move_damaged(workdir: Path) -> None:
    """Moves damaged checkpoints to another directory; raises `UserError` if none is left."""
    found = [workdir / DIRECTORY / str(step) for step in list_steps(workdir / DIRECTORY)]
    damaged = {path: reason for path in found if (reason := digests.find_damage(path))}
    wait_for_all("all processes have checked the checkpoints")
    for path, reason in damaged.items():
        target = workdir / DAMAGED / path.name
        console.print(f"Warning: the checkpoint {path} is damaged: {reason}. It was moved to {target}.")
        if is_first():
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
    wait_for_all("damaged checkpoints are moved")
    if damaged and len(damaged) == len(found):
        raise UserError(f"All checkpoints of {workdir} are damaged (warnings above). Start anew in another --workdir.")

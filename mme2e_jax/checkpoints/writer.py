"""Writes a run's checkpoints with Orbax, atomically and in the background."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN
from orbax.checkpoint.path import atomicity_types

from mme2e_jax.checkpoints import digests
from mme2e_jax.checkpoints.reader import DIRECTORY, IMPORTED_STEP, ITEMS, RunRecord, merit, stored_steps
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import TrainState, Variables
from mme2e_jax.runtime import pytree
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first, wait_for_all

DAMAGED = "damaged_checkpoints"


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
        best = BestN(get_metric_fn=merit, n=1, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_names=ITEMS,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
                best_fn=merit,
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
                    optimizer=ocp.args.StandardSave(pytree.flatten(state.optimizer)),
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
            kept = ", ".join(str(step) for step in stored_steps(self._directory))
            raise CheckpointError(
                f"A checkpoint could not be written to {self._directory}: {reason}. "
                + (f"Those of the steps {kept} are whole: " if kept else "There is none before it: ")
                + "see that the disk has space and can be written to, and give the same command again."
            ) from error

    def _seal(self) -> None:
        for unfinished in self._directory.glob(f"*{atomicity_types.TMP_DIR_SUFFIX}*"):
            digests.seal(unfinished)


def _put_damaged_aside(workdir: Path) -> None:
    """Moves checkpoints whose files are not as they were written out of the way.

    Raises:
      UserError: if none is left.
    """
    found = [workdir / DIRECTORY / str(step) for step in stored_steps(workdir / DIRECTORY)]
    damaged = {path: reason for path in found if (reason := digests.damage(path))}
    wait_for_all("all processes have looked at the checkpoints")
    for path, reason in damaged.items():
        aside = workdir / DAMAGED / path.name
        console.print(f"Warning: the checkpoint {path} is damaged: {reason}. It was moved to {aside}.")
        if is_first():
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            path.rename(aside)
    wait_for_all("damaged checkpoints are out of the way")
    if damaged and len(damaged) == len(found):
        raise UserError(
            f"All checkpoints of {workdir} are damaged, see the warnings above. Give another --workdir to start anew."
        )

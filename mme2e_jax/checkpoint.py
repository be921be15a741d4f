"""Checkpoints with Orbax: the best by mean validation F1 and the last ones.

A checkpoint holds the variables, the optimiser's state, and everything that evaluation needs to know: config, label
names, thresholds, preprocessing. Evaluation restores it without the data it was trained on.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from mme2e_jax import tree
from mme2e_jax.errors import UserError
from mme2e_jax.state import TrainState, Variables

FORMAT_VERSION = 1
DIRECTORY = "checkpoints"
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
    history: list[dict[str, Any]]  # one entry per epoch so far
    format_version: int = FORMAT_VERSION


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, workdir: Path, keep_last: int = 1):
        """Opens them; the directory appears with the first save.

        Args:
          workdir: of the run.
          keep_last: newest checkpoints to keep, the best aside.
        """
        self.directory = epath.Path(workdir).absolute() / DIRECTORY
        # Of epochs with equal F1 the first is the best, here and in the history.
        best = BestN(get_metric_fn=lambda m: m["f1"] - 1e-9 * m["epoch"], n=1)
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_names=("variables", "optimizer", "record"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
                best_fn=lambda m: m["f1"] - 1e-9 * m["epoch"],
                cleanup_tmp_directories=True,
            ),
        )

    def save(self, state: TrainState, record: RunRecord) -> None:
        """Starts to save in the background, under the number of steps done."""
        epoch = record.history[-1]
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                variables=ocp.args.StandardSave(state.variables.arrays()),
                optimizer=ocp.args.StandardSave(tree.flatten(state.optimizer)),
                record=ocp.args.JsonSave(dataclasses.asdict(record)),
            ),
            metrics={"f1": epoch["valid"]["f1"], "epoch": epoch["epoch"]},
        )

    def save_imported(self, variables: Variables, record: RunRecord) -> None:
        """Starts to save weights that no training here made: to be evaluated or started from, not gone on with."""
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
        """Returns once everything is on disk."""
        self._manager.wait_until_finished()

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        return self._manager.best_step()

    def record(self, step: int) -> RunRecord:
        """What a checkpoint says about its run.

        Raises:
          UserError: if another version of this program wrote it.
        """
        stored = self._manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))["record"]
        if stored.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.directory}/{step} has format version {stored.get('format_version')}, expected "
                f"{FORMAT_VERSION}: use the version of mme2e_jax that wrote it."
            )
        return RunRecord(**stored)

    def restore_arrays(self, step: int) -> dict[str, np.ndarray]:
        """Variables of a checkpoint by name, on the host, whatever model they belong to."""
        stored = ocp.StandardCheckpointHandler().metadata(self.directory / f"{step}/variables").tree
        like = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(like))
        return self._manager.restore(step, args=args)["variables"]

    def restore_variables(self, step: int, like: Variables) -> Variables:
        """Variables of a checkpoint, placed as the (abstract) arrays of `like`."""
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(like.arrays()))
        return like.with_arrays(self._manager.restore(step, args=args)["variables"])

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """Everything that training goes on from, placed as the (abstract) arrays of `like`."""
        args = ocp.args.Composite(
            variables=ocp.args.StandardRestore(like.variables.arrays()),
            optimizer=ocp.args.StandardRestore(tree.flatten(like.optimizer)),
        )
        restored = self._manager.restore(step, args=args)
        optimizer = tree.unflatten(like.optimizer, restored["optimizer"])
        done = jax.device_put(np.asarray(step, like.step.dtype), like.step.sharding)
        return TrainState(done, like.variables.with_arrays(restored["variables"]), optimizer)


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

"""Training: from a config to the best checkpoint."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mme2e_jax import build, metrics, objective
from mme2e_jax.checkpoint import IMPORTED_STEP, Checkpoints, RunRecord
from mme2e_jax.config import Config, refuse_changes, site_selection, validate_devices
from mme2e_jax.console import ProgressBar, console
from mme2e_jax.data.dataset import Dataset
from mme2e_jax.data.pipeline import Input
from mme2e_jax.errors import UserError
from mme2e_jax.evaluate import Parameters, predict
from mme2e_jax.hooks import FiniteCheck, Hook, TensorBoard
from mme2e_jax.run import check_fit, input_of
from mme2e_jax.sharding import DataMesh
from mme2e_jax.state import TrainState, abstract_variables, parameter_count, structures
from mme2e_jax.step import sparse_threshold


def train(config: Config, dataset: Dataset, workdir: Path) -> Input:
    """Trains, or goes on where an earlier call with the same workdir ended.

    Args:
      config: validated.
      dataset: prepared records.
      workdir: where checkpoints and logs go.

    Returns:
      The run's input, for the evaluation that follows.

    Raises:
      UserError: if devices, weights or data do not fit the config.
      NonFiniteLoss: if the loss or a gradient is not finite.
    """
    mesh = DataMesh(validate_devices(config, jax.device_count()))
    record = RunRecord(
        config=config.to_dict(),
        label_names=list(dataset.label_names),
        tokenizer=dict(dataset.tokenizer),
        preprocessing=dict(dataset.preprocessing),
        thresholds={},
        history=[],
    )
    check_fit(record, dataset)
    objective.check_labels(config.optim.loss, dataset)
    batches = input_of(config, dataset, mesh, config.optim.epochs)
    spec = build.model_spec(config, len(dataset.label_names), dataset.tokenizer)
    tx = build.make_optimizer(config, batches.total_steps)
    checkpoints = Checkpoints(workdir, config.checkpoint.keep_last)
    if checkpoints.latest_step == IMPORTED_STEP:
        raise UserError(
            f"{workdir} holds imported weights, which are no run to go on with. To train from them, name them as the "
            f"start of another run: --config.init.checkpoint={workdir} --workdir=OTHER. Or evaluate them with "
            "--mode=evaluate."
        )
    start = checkpoints.latest_step or 0
    if start:
        started = checkpoints.record(start)
        refuse_changes(config, started.config, workdir)
        check_fit(started, dataset)
        record = dataclasses.replace(record, thresholds=started.thresholds, history=started.history)
        like = jax.eval_shape(lambda variables: _fresh_state(variables, tx), abstract_variables(spec))
        state = checkpoints.restore_state(start, mesh.abstract(like))
        console.print(f"Going on from step {start} of {workdir}")
    else:
        variables = mesh.put_replicated(build.start_variables(config, spec))
        state = jax.jit(_fresh_state, static_argnums=1, out_shardings=mesh.replicated)(variables, tx)
    structure_at, usual = structures(spec), state.variables.graphdef
    options = build.compiler_options(config)
    train_step = jax.jit(build.make_step(config, dataset, tx), donate_argnums=0, compiler_options=options)
    console.print(
        f"{config.model.name} on {mesh.devices} x {jax.devices()[0].device_kind}: "
        f"{parameter_count(state.variables):,} parameters, {len(dataset.split('train'))} utterances, "
        f"{batches.steps_per_epoch} steps an epoch"
    )

    hooks = _hooks(config, dataset, batches, workdir, start)
    per_epoch, losses, pending = batches.steps_per_epoch, [], []
    try:
        input_iterator = iter(()) if _finished(record.history, config) else batches.training(start)
        for step, batch in enumerate(input_iterator, start):
            threshold = sparse_threshold(step, batches.total_steps, *site_selection(config))
            structure = structure_at(threshold)
            with mesh.active():
                state, step_metrics = train_step(
                    state.with_structure(structure), mesh.put_batch(batch), jnp.float32(threshold)
                )
            state = state.with_structure(usual)
            # One step late, so that the devices never wait for the host.
            pending.append((step, step_metrics))
            epoch_ends = (step + 1) % per_epoch == 0
            while len(pending) > (0 if epoch_ends else 1):
                done, values = pending.pop(0)
                values = jax.device_get(values)
                losses.append(float(values.loss))
                for hook in hooks:
                    hook.after_step(done, values)
            if epoch_ends:
                record = _end_epoch(config, state, record, losses, batches, mesh, hooks)
                checkpoints.save(state, record)
                losses = []
                if _finished(record.history, config):
                    break
    finally:
        for hook in hooks:
            hook.close()
        checkpoints.wait()
    return batches


def _fresh_state(variables, tx) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), variables, tx.init(variables.params))


def _end_epoch(
    config: Config,
    state: TrainState,
    record: RunRecord,
    losses: Sequence[float],
    batches: Input,
    mesh: DataMesh,
    hooks: Sequence[Hook],
) -> RunRecord:
    """Validates, at the threshold that the finished model will have, and chooses the emotions' thresholds."""
    names = batches.dataset.label_names
    parameters = Parameters(state.variables, site_selection(config)[0])
    score, truth, _ = predict(parameters, batches.evaluation("valid"), config.optim.loss, mesh)
    task = objective.TASKS[config.optim.loss]
    thresholds = metrics.best_thresholds(score, truth, names, config.evaluation.threshold_smoothing, task)
    valid = metrics.compute(score, truth, names, thresholds, task)
    epoch, loss = len(record.history), float(np.mean(losses))
    entry = {"epoch": epoch, "train_loss": loss, "valid": valid.to_json()["mean"]}
    for hook in hooks:
        hook.after_epoch(epoch, int(state.step), loss, valid)
    return dataclasses.replace(record, thresholds=thresholds, history=[*record.history, entry])


def _finished(history: Sequence[dict], config: Config) -> bool:
    """Whether all epochs are done, or too many passed without a better mean validation F1.

    While the threshold still falls, a lack of progress does not count: the model is not the one it will be.
    """
    epochs = len(history)
    if epochs >= config.optim.epochs or not epochs:
        return epochs >= config.optim.epochs
    best = int(np.argmax([entry["valid"]["f1"] for entry in history]))
    threshold, anneal = site_selection(config)
    annealed = round(anneal * config.optim.epochs) if threshold < 1 else 0
    stale = epochs - max(best + 1, annealed)
    return 0 < config.optim.early_stop <= stale


def _hooks(config: Config, dataset: Dataset, batches: Input, workdir: Path, start: int) -> list[Hook]:
    hooks: list[Hook] = [
        FiniteCheck(batches.utterance_ids),
        ProgressBar(dataset.label_names, batches.steps_per_epoch, config.optim.epochs, config.data.batch_size, start),
    ]
    if config.log.tensorboard:
        hooks.append(TensorBoard(workdir / "tensorboard", config.log.every_steps))
    return hooks

"""The training loop.

A checkpoint is the complete state of a run: batches and dropout are functions of the step number, so that a resumed run
gives the same numbers as an uninterrupted one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mme2e_jax.checkpoints.reader import IMPORTED_STEP, Checkpoints, RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config.devices import devices_to_use
from mme2e_jax.config.resume import refuse_changes
from mme2e_jax.config.schema import Config
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import Dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.inference import InferenceState, predict
from mme2e_jax.models.variables import Spec, TrainState, abstract_variables, parameter_count
from mme2e_jax.runs.load import check_fit, make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runs.tokenizer import keep_tokenizer
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first
from mme2e_jax.runtime.lock import lock_workdir
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.runtime.signals import Interrupted, Stopped, StopRequests
from mme2e_jax.training import losses, setup
from mme2e_jax.training.hooks import FiniteCheck, Hook, refuse_nonfinite_scores
from mme2e_jax.training.lessons import LessonStore
from mme2e_jax.training.loggers import ScalarLog, TensorBoard, WeightsAndBiases
from mme2e_jax.training.optimizer import without_moments
from mme2e_jax.training.profiler import Profile, steps_to_profile
from mme2e_jax.training.programs import CompileAhead, Program, RunPrograms, teacher_like
from mme2e_jax.training.progress import ProgressBar
from mme2e_jax.training.site_schedule import SiteSchedule
from mme2e_jax.training.step import StepMetrics, compiler_options
from mme2e_jax.training.step_log import StepLog
from mme2e_jax.training.timing import Clock


def train(config: Config, dataset: Dataset, workdir: Path) -> BatchLoader:
    """Trains a model, or resumes the run in `workdir`; returns the batch loader, for the evaluation that follows.

    Raises `UserError` if devices, weights, data or the content of `workdir` do not fit the config, `NonFiniteLoss` if
    the loss, a gradient or a validation score is not finite, `CheckpointError` if a checkpoint cannot be written, and
    `Stopped` if SIGTERM or Ctrl-C was received; all completed steps are saved then.
    """
    mesh = DataMesh(devices_to_use(config, jax.device_count()))
    batches = make_batch_loader(config, dataset, mesh, config.optim.epochs)
    losses.check_labels(config.optim.loss, dataset)
    spec = model_spec(config, len(dataset.label_names), dataset.tokenizer)
    tx = setup.make_optimizer(config, batches.total_steps)
    with lock_workdir(workdir), StopRequests() as stop:
        writer = CheckpointWriter(workdir, config.checkpoint.keep_last)
        state, record = _start_or_resume(config, dataset, workdir, mesh, spec, tx, batches.steps_per_epoch)
        if is_first():
            keep_tokenizer(dataset.directory, workdir)
        console.print(
            f"{config.model.name} on {mesh.devices} x {jax.devices()[0].device_kind}: "
            f"{parameter_count(state.variables):,} parameters, {len(dataset.split('train'))} utterances, "
            f"{batches.steps_per_epoch} steps an epoch"
        )
        step = jax.jit(
            setup.make_step(config, dataset, tx),
            donate_argnums=0,
            compiler_options=compiler_options(),
            out_shardings=mesh.replicated,
        )
        _Loop(config, batches, mesh, spec, step, writer, workdir, state, record).run(stop)
    return batches


def _start_or_resume(
    config: Config,
    dataset: Dataset,
    workdir: Path,
    mesh: DataMesh,
    spec: Spec,
    tx: optax.GradientTransformation,
    steps_per_epoch: int,
) -> tuple[TrainState, RunRecord]:
    record = RunRecord(
        config=config.to_dict(),
        label_names=list(dataset.label_names),
        tokenizer=dict(dataset.tokenizer),
        preprocessing=dict(dataset.preprocessing),
        thresholds={},
        history=[],
        fingerprint=dataset.compute_fingerprint(),
    )
    check_fit(record, dataset)
    checkpoints = Checkpoints(workdir)
    last = checkpoints.find_latest_step()
    if last is None:
        variables = mesh.put_replicated(setup.start_variables(config, spec))
        return jax.jit(_fresh_state, static_argnums=1, out_shardings=mesh.replicated)(variables, tx), record
    if last == IMPORTED_STEP:
        raise UserError(
            f"{workdir} holds imported weights, expected a run to resume. Train from them in another run with "
            f"--config.init.checkpoint={workdir} --workdir=OTHER, or evaluate them with --mode=evaluate."
        )
    started = checkpoints.read_record(last)
    refuse_changes(config, started.config, workdir)
    check_fit(started, dataset)
    if started.fingerprint != record.fingerprint:
        raise UserError(
            f"{dataset.directory} holds other training or validation data than the run in {workdir} was started with: "
            "utterances, lengths or labels differ. Give the same records to resume it, or start a new run in another "
            "--workdir."
        )
    epochs = started.config["optim"]["epochs"]
    if epochs != config.optim.epochs:
        console.print(
            f"The run now has {config.optim.epochs} epochs, not {epochs}. Learning rate and threshold follow the new "
            "number from here, so that results differ from those of a run with either number from the start."
        )
    variables = abstract_variables(spec)
    like = jax.eval_shape(lambda variables: _fresh_state(variables, tx), variables)
    if SiteSchedule.of(config, steps_per_epoch).taught(last - 1):
        like = like._replace(teacher=teacher_like(variables, spec))
    console.print(f"Resuming at step {last} of {workdir}")
    return checkpoints.restore_state(last, mesh.abstract(like)), dataclasses.replace(started, config=record.config)


def _fresh_state(variables, tx) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), variables, tx.init(variables.params))


# A step is donated its state.
_copy = jax.jit(lambda variables: jax.tree.map(jnp.copy, variables))


@dataclasses.dataclass
class _Loop:
    """The loop over steps, with its mutable state."""

    config: Config
    batches: BatchLoader
    mesh: DataMesh
    spec: Spec
    step: Any  # the jitted training step
    writer: CheckpointWriter
    workdir: Path
    state: TrainState
    record: RunRecord

    def __post_init__(self) -> None:
        self._clock = Clock()
        # Number, metrics and seconds of the steps that the devices may not have finished.
        self._pending: list[tuple[int, StepMetrics, dict[str, float]]] = []
        self._finite = FiniteCheck(self.batches.utterance_ids, self.config.optim.skip_nonfinite, self.record.skipped)
        self._hooks: list[Hook] = []
        self._saved = -1  # step of the last checkpoint of this process
        self.schedule = SiteSchedule.of(self.config, self.batches.steps_per_epoch)
        self._lessons = LessonStore(self.spec.modalities) if self.schedule.has_teacher else None
        self._programs = RunPrograms(
            self.config, self.schedule, self.batches, self.mesh, self.spec, self.step, self.state, self._lessons
        )

    def run(self, stop: StopRequests) -> None:
        """Trains to the end, or until a request to stop."""
        if _finished(self.record.history, self.config):
            return
        start = int(self.state.step)
        self._hooks = [self._finite, *self._output_hooks(start)]
        profile = Profile(steps_to_profile(self.config.profile), self.workdir / "profile")
        self._compiler = CompileAhead(self._programs.needed(start), self._programs.lower, self.mesh)
        try:
            # The run may have been killed between the last step of an epoch and its validation.
            self._end_epoch_if_due(start, stop)
            if not _finished(self.record.history, self.config):
                self._train_from(start, stop, profile)
        finally:
            self._compiler.close()
            profile.close()
            for hook in self._hooks:
                hook.close()
            with self._clock.measure("save"):
                self.writer.wait()
        console.print(self._clock.summary())

    def _train_from(self, start: int, stop: StopRequests, profile: Profile) -> None:
        stored_structure, every = self.state.variables.graphdef, self.config.checkpoint.every_steps
        for step, batch in enumerate(self._clock.measure_input(self.batches.training(start)), start):
            threshold, program = self.schedule.threshold(step), self._programs.training(step)
            try:
                if self._lessons and self._lessons.empty and self.schedule.taught(step):
                    self._ask_teacher(self._lessons, stop)
                self._await_programs([program], stop)
            except Interrupted:
                if step not in (start, self._saved):
                    self._save()
                raise self._stopped(step) from None
            if profile.boundary(step):
                self._await_steps()
                profile.before(step)
            lesson = self._lessons.for_batch(batch) if self._lessons else None
            batch, lesson = self.mesh.put_batch((batch, lesson))
            with self.mesh.active():
                # A step is donated its state; the teacher stays.
                state = self.state.with_structure(self._programs.structure(program))._replace(teacher=None)
                state, step_metrics = self.step(state, batch, np.float32(threshold), lesson)
            self.state = state.with_structure(stored_structure)._replace(teacher=self.state.teacher)
            seconds = self._clock.lap(program.masked, undisturbed=not self._compiler.busy)
            self._pending.append((step, step_metrics, seconds))
            # One step late, so that devices never wait for the host.
            self._await_steps(but=1)
            done, stopping = step + 1, stop.should_stop(step + 1)
            if self._end_epoch_if_due(done, stop):
                if _finished(self.record.history, self.config):
                    return
            elif stopping or (every and done % every == 0):
                self._save()
            if stopping:
                raise self._stopped(done)

    def _ask_teacher(self, lessons: LessonStore, stop: StopRequests) -> None:
        """Runs the teacher once on the training split; raises `Interrupted` after a request to stop."""
        self._await_programs(self._programs.teacher(), stop)
        if self.state.teacher is None:
            self._freeze_teacher()
        assert self.state.teacher is not None
        with self._clock.measure("teacher"):
            steps = self.batches.steps_per_epoch
            for hook in self._hooks:
                hook.waiting(f"computing the teacher's saliency and logits in {steps} batches")
            lessons.add_all(self.state.teacher, stop.interruptible(self.batches.training(0, steps)), self.mesh)

    def _freeze_teacher(self) -> None:
        self.state = self.state._replace(teacher=teacher_like(_copy(self.state.variables), self.spec))
        if self.schedule.dense_steps:
            # The scores had no gradient so far. Adam's long memory of that would make their first steps far too large.
            moments = self.mesh.put_replicated(without_moments(self.state.optimizer))
            self.state = self.state._replace(optimizer=moments)
            console.print(
                "The dense phase is over. A frozen copy of the model is now its teacher, and the model learns with "
                "fewer sites."
            )

    def _await_programs(self, programs: Sequence[Program], stop: StopRequests) -> None:
        """Waits until programs are compiled; raises `Interrupted` after a request to stop."""
        with self._clock.measure("compilation"):
            shown = ""
            for program in programs:
                for text in stop.interruptible(self._compiler.wait(program)):
                    if text != shown:
                        for hook in self._hooks:
                            hook.waiting(text)
                    shown = text

    def _await_steps(self, but: int = 0) -> None:
        """Waits for all steps but the last `but`, and runs the hooks for each."""
        while len(self._pending) > but:
            step, values, seconds = self._pending.pop(0)
            values = jax.device_get(values)
            for hook in self._hooks:
                hook.after_step(step, values, seconds)
            self.record = dataclasses.replace(
                self.record, losses=[*self.record.losses, float(values.loss)], skipped=list(self._finite.skipped)
            )

    def _save(self) -> None:
        self._await_steps()
        with self._clock.measure("save"):
            self.writer.save(self.state, self.record)
        self._saved = int(self.state.step)

    def _end_epoch_if_due(self, done: int, stop: StopRequests) -> bool:
        """Validates and saves if `done` steps complete an epoch that is not validated yet."""
        epoch = len(self.record.history)
        if done != (epoch + 1) * self.batches.steps_per_epoch:
            return False
        self._await_steps()
        try:
            self._await_programs(self._programs.validation(epoch), stop)
            with self._clock.measure("validation"):
                self.record, valid, loss = self._validated(stop)
        except Interrupted:
            self._save()
            raise self._stopped(done) from None
        for hook in self._hooks:
            hook.after_epoch(epoch, done, loss, valid)
        self._save()
        return True

    def _validated(self, stop: StopRequests) -> tuple[RunRecord, metrics.Metrics, float]:
        """Validates at the final attention threshold (1 in the dense phase) and chooses the decision thresholds."""
        config, record, names = self.config, self.record, self.batches.dataset.label_names
        epoch, task = len(record.history), tasks.TASKS[config.optim.loss]
        threshold = self._programs.validation_threshold(epoch)
        variables = self.state.with_structure(self._programs.structure_at(threshold)).variables
        batches = stop.interruptible(self.batches.evaluation("valid"))
        score, truth, *_ = predict(InferenceState(variables, threshold), batches, config.optim.loss, self.mesh)
        refuse_nonfinite_scores(epoch, score)
        thresholds = metrics.best_thresholds(score, truth, names, config.evaluation.threshold_smoothing, task)
        valid = metrics.compute(score, truth, names, thresholds, task)
        loss = float(np.mean([value for value in record.losses if np.isfinite(value)]))
        history = [*record.history, {"epoch": epoch, "train_loss": loss, "valid": valid.to_json()["mean"]}]
        return dataclasses.replace(record, thresholds=thresholds, history=history, losses=[]), valid, loss

    def _stopped(self, done: int) -> Stopped:
        progress = f"{done} of {self.batches.total_steps} steps are saved"
        return Stopped(f"Stopped on request: {progress}. The same command resumes the run.")

    def _output_hooks(self, start: int) -> list[Hook]:
        """Loggers and the progress bar; only the first process has them."""
        if not is_first():
            return []
        config, per_epoch, names = self.config, self.batches.steps_per_epoch, self.batches.dataset.label_names
        logs: list[ScalarLog] = []
        if config.log.tensorboard:
            logs.append(TensorBoard(config.log.every_steps, self.workdir / "tensorboard"))
        if config.log.wandb:
            logs.append(WeightsAndBiases(config.log.every_steps, config.log.wandb, self.workdir, config.to_dict()))
        # The bar last: nothing may fail while it is shown.
        return [
            *logs,
            StepLog(self.workdir, start),
            ProgressBar(names, per_epoch, config.optim.epochs, config.data.batch_size, start, self._clock),
        ]


def _finished(history: Sequence[dict], config: Config) -> bool:
    """Whether all epochs are complete, or too many passed at the final threshold without a better validation F1."""
    epochs, dense = len(history), config.dense_epochs
    if epochs >= config.optim.epochs or epochs <= dense:
        return epochs >= config.optim.epochs
    best = dense + int(np.argmax([entry["valid"]["f1"] for entry in history[dense:]]))
    threshold, anneal = config.site_selection
    annealed = dense + round(anneal * (config.optim.epochs - dense)) if threshold < 1 else dense
    stale = epochs - max(best + 1, annealed)
    return 0 < config.optim.early_stop <= stale

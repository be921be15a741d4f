"""Compiles the programs of a run before its steps need them.

A run's programs follow from its plan: training and inference in each padded shape, and in each phase of a sparse model.
They are compiled in the order in which they are first needed, which all processes of a run agree on. Compiling runs no
collective operation.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from flax import nnx

from mme2e_jax.config.schema import Config
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.plan import Shape
from mme2e_jax.evaluation.inference import InferenceState, infer_batch
from mme2e_jax.models.variables import Spec, TrainState, Variables, structures
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training.lessons import LessonStore, compact_lesson
from mme2e_jax.training.site_schedule import SiteSchedule

# Steps of each phase whose shapes are looked up.
_STEPS_AHEAD = 2000
_POLL_SECONDS = 0.2


class Program(NamedTuple):
    """What is compiled."""

    purpose: Literal["training", "inference", "teacher"]
    masked: bool  # whether a sparse model computes with masks, where the final attention threshold uses rows
    shape: Shape

    def __str__(self) -> str:
        """Shape and purpose, as in "32 tokens, 96 frames, 120 chunks (training with masks)"."""
        sizes = ", ".join(f"{size} {name}" for name, size in self.shape._asdict().items())
        return f"{sizes} ({self.purpose}{' with masks' * self.masked})"


def needed_programs(
    steps: range,
    steps_per_epoch: int,
    phase: Callable[[int], Hashable],
    training: Callable[[int], Sequence[Program]],
    validation: Callable[[int], Sequence[Program]],
    test: Sequence[Program],
) -> list[Program]:
    """The programs of a run in the order in which they are first needed.

    Only the first steps of a long phase are looked up, so that a rare shape may be missing.

    Args:
      steps: steps of the run.
      steps_per_epoch: steps between validations.
      phase, training: phase and programs of a step.
      validation: programs of the validation after an epoch.
      test: programs of the evaluation after the last step.
    """
    found: list[Program] = []
    began: dict[Hashable, int] = {}
    for step in steps:
        if step < began.setdefault(phase(step), step) + _STEPS_AHEAD:
            found += training(step)
        if (step + 1) % steps_per_epoch == 0:
            found += validation(step // steps_per_epoch)
    return list(dict.fromkeys([*found, *test]))


class CompileAhead:
    """Compiles programs in a background thread; close it at the end.

    XLA releases Python's lock, so that steps run meanwhile. Compiled programs are not kept here: JAX finds them when
    the same function is called with such arguments.
    """

    def __init__(self, programs: Sequence[Program], lower: Callable[[Program], Any], mesh: DataMesh):
        """Starts to compile.

        Args:
          programs: planned programs, in the order in which they are compiled.
          lower: traces a program and returns it as a `jax.stages.Lowered`.
          mesh: devices of the run.
        """
        self._lower, self._mesh = lower, mesh
        # One thread: several processes must compile the same programs in the same order.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._futures: dict[Program, Future] = {}
        for program in programs:
            self._submit(program)

    @property
    def busy(self) -> bool:
        """Whether a program is being compiled."""
        return not all(future.done() for future in self._futures.values())

    def wait(self, program: Program) -> Iterator[str]:
        """Waits until a program is compiled, and yields several times a second what is being compiled.

        An example is "compiling 2 of 4: 32 tokens, 96 frames, 120 chunks (training)". A program that was not planned is
        compiled after all others. An error of the compilation is raised here.
        """
        future = self._futures.get(program) or self._submit(program)
        while not future.done():
            finished = [other.done() for other in self._futures.values()]
            number = finished.index(False) if False in finished else len(finished) - 1
            yield f"compiling {number + 1} of {len(finished)}: {list(self._futures)[number]}"
            wait([future], timeout=_POLL_SECONDS)
        future.result()

    def close(self) -> None:
        """Cancels the programs that are waiting; one that is being compiled is completed before the process ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, program: Program) -> Future:
        self._futures[program] = self._threads.submit(self._compile, program)
        return self._futures[program]

    def _compile(self, program: Program) -> None:
        # The thread has a context of its own.
        with self._mesh.active():
            self._lower(program).compile()


class RunPrograms:
    """Which programs the steps and validations of a run use, and how to trace them."""

    def __init__(
        self,
        config: Config,
        schedule: SiteSchedule,
        batches: BatchLoader,
        mesh: DataMesh,
        spec: Spec,
        step: Any,
        state: TrainState,
        lessons: LessonStore | None,
    ):
        """Args: step: jitted training step; state, lessons: of the run; only shapes are used."""
        self._schedule, self._batches, self._mesh, self._spec, self._step = schedule, batches, mesh, spec, step
        self._lessons = lessons
        self._final, self._dense_epochs = config.site_selection[0], config.dense_epochs
        self._state = mesh.abstract(state._replace(teacher=None))
        self.structure_at = structures(spec)

    def training(self, step: int) -> Program:
        """The program of a step."""
        return Program("training", self._masked(self._schedule.threshold(step)), self._batches.planned(step).shape)

    def teacher(self) -> list[Program]:
        """The programs of the teacher's pass over the training split, in the batches of the first epoch."""
        shapes = dict.fromkeys(self._batches.planned(step).shape for step in range(self._batches.steps_per_epoch))
        return [Program("teacher", False, shape) for shape in shapes]

    def validation(self, epoch: int) -> list[Program]:
        """The programs of the validation after an epoch."""
        return self._inference("valid", self.validation_threshold(epoch))

    def validation_threshold(self, epoch: int) -> float:
        """Attention threshold of the validation after an epoch: 1 in the dense phase, then the final one."""
        return 1.0 if epoch < self._dense_epochs else self._final

    def needed(self, start: int) -> list[Program]:
        """The programs from step `start` on, see `needed_programs`."""
        steps, per_epoch = range(start, self._batches.total_steps), self._batches.steps_per_epoch
        first = next((step for step in steps if self._schedule.taught(step)), None)

        def phase(step: int) -> tuple[bool, bool]:
            return self._masked(self._schedule.threshold(step)), self._schedule.taught(step)

        def training(step: int) -> list[Program]:
            return [*(self.teacher() if step == first else ()), self.training(step)]

        test = self._inference("test", self._final)
        return needed_programs(steps, per_epoch, phase, training, self.validation, test)

    def structure(self, program: Program) -> nnx.GraphDef:
        """The structure of the model in a program."""
        return self.structure_at(1.0 if program.masked else self._final)

    def lower(self, program: Program) -> jax.stages.Lowered:
        """Traces a program for the devices of the run."""
        padding = self._batches.padding(program.shape)
        batch, state = self._mesh.abstract_batch(padding), self._state.with_structure(self.structure(program))
        if program.purpose == "inference":
            # The type of the threshold matters, its value does not.
            return infer_batch.lower(InferenceState(state.variables, 1.0), batch)
        if program.purpose == "teacher":
            return compact_lesson.lower(teacher_like(state.variables, self._spec), batch)
        lesson = self._mesh.abstract_batch(self._lessons.for_batch(padding)) if self._lessons else None
        return self._step.lower(state, batch, np.float32(1.0), lesson)

    def _inference(self, split: str, threshold: float) -> list[Program]:
        masked = self._masked(threshold)
        return [Program("inference", masked, shape) for shape in self._batches.evaluation_shapes(split)]

    def _masked(self, threshold: float) -> bool:
        return self.structure_at(threshold) is not self.structure_at(self._final)


def teacher_like(variables: Variables, spec: Spec) -> Variables:
    """The variables as those of a teacher, which computes all sites."""
    return dataclasses.replace(variables, graphdef=structures(spec)(1.0))

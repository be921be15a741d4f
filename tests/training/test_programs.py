"""What a run compiles, when, and what happens while it waits."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from configs import mini_dense, mini_sparse
from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.data.plan import Shape
from mme2e_jax.models.variables import TrainState, abstract_variables
from mme2e_jax.runs.load import make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.runtime.signals import Stopped
from mme2e_jax.training.programs import CompileAhead, Program, RunPrograms, needed_programs
from mme2e_jax.training.progress import ProgressBar
from mme2e_jax.training.site_schedule import SiteSchedule
from tests.training.test_loop import logged, train_in

SMALL, LARGE = (Program("training", False, Shape(16, frames, 20)) for frames in (10, 20))


@pytest.fixture
def compiled() -> Iterator[list[tuple[str, str]]]:
    """Function and thread of every compilation, as they happen."""
    seen: list[tuple[str, str]] = []

    def listen(event: str, duration_secs: float, **about: Any) -> None:
        del duration_secs
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append((about["fun_name"], threading.current_thread().name))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def batch_loader(records: Path, *, max_shapes: int = 3, epochs: int = 3) -> BatchLoader:
    dataset = open_dataset(records, "mini")
    return BatchLoader(dataset, batch_size=4, text_max_len=100, seed=0, groups=1, max_shapes=max_shapes, epochs=epochs)


@pytest.mark.parametrize("start", [0, 3, 6])
def test_programs_are_planned_in_the_order_of_first_need(start: int, records: Path) -> None:
    batches = batch_loader(records)
    steps, per_epoch = range(start, batches.total_steps), batches.steps_per_epoch

    def phase(step: int) -> bool:
        return step < 7

    def training(step: int) -> list[Program]:
        return [Program("training", phase(step), batches.planned(step).shape)]

    def inference(split: str, masked: bool) -> list[Program]:
        return [Program("inference", masked, shape) for shape in batches.evaluation_shapes(split)]

    def validation(epoch: int) -> list[Program]:
        return inference("valid", masked=epoch == 0)

    planned = needed_programs(steps, per_epoch, phase, training, validation, inference("test", masked=False))

    needed: list[Program] = []
    for step in steps:
        needed += training(step)
        if step % per_epoch == per_epoch - 1:
            needed += validation(step // per_epoch)
    assert planned == list(dict.fromkeys([*needed, *inference("test", masked=False)]))
    assert len(planned) > 3


@pytest.mark.parametrize(
    ("experiment", "programs"),
    [(mini_dense, ["training", "inference"]), (mini_sparse, ["training", "inference", "teacher"])],
)
def test_a_run_of_a_mini_config_needs_few_programs(experiment: Any, programs: list[str], records: Path) -> None:
    values = experiment.get_config()
    values.data.dir = str(records)
    config, mesh = parse_config(values), DataMesh(1)
    dataset = open_dataset(records, "mini")
    batches = make_batch_loader(config, dataset, mesh, config.optim.epochs)
    spec, schedule = model_spec(config, 6, dataset.tokenizer), SiteSchedule.of(config, batches.steps_per_epoch)
    state = TrainState(jnp.int32(0), abstract_variables(spec), ())

    needed = RunPrograms(config, schedule, batches, mesh, spec, None, state, None).needed(0)

    assert [program.purpose for program in needed] == programs


def test_padding_has_the_arrays_of_a_batch_of_its_shape(records: Path) -> None:
    batches = batch_loader(records, epochs=1)
    shape = batches.planned(0).shape

    padding, batch = batches.padding(shape), next(iter(batches.training(0)))

    assert jax.tree.map(lambda x: (x.shape, x.dtype), padding) == jax.tree.map(lambda x: (x.shape, x.dtype), batch)
    assert (padding.example == -1).all()


class Blocked:
    """Lowers small programs, each when the test allows it."""

    def __init__(self, *programs: Program):
        self.allowed = {program: threading.Event() for program in programs}
        # With options, which a training step may have; one that changes nothing.
        options = {"xla_cpu_enable_fast_math": False}
        self.step = jax.jit(lambda x: x + 1, donate_argnums=0, compiler_options=options)

    def lower(self, program: Program) -> Any:
        assert self.allowed[program].wait(300)
        return self.step.lower(jax.ShapeDtypeStruct((program.shape.frames,), jnp.float32))


def test_a_wait_tells_what_is_compiled_until_the_program_is_ready(compiled: list[tuple[str, str]]) -> None:
    blocked = Blocked(SMALL, LARGE)
    ahead = CompileAhead([SMALL, LARGE], blocked.lower, DataMesh(1))

    said = ahead.wait(LARGE)
    assert next(said) == "compiling 1 of 2: 16 tokens, 10 frames, 20 chunks (training)"
    assert ahead.busy
    blocked.allowed[SMALL].set()
    list(ahead.wait(SMALL))
    second = "compiling 2 of 2: 16 tokens, 20 frames, 20 chunks (training)"
    assert next(said) == second
    blocked.allowed[LARGE].set()
    assert set(said) <= {second}
    assert not ahead.busy
    assert list(ahead.wait(LARGE)) == []
    ahead.close()

    inputs = [jnp.zeros(SMALL.shape.frames), jnp.zeros(LARGE.shape.frames)]
    compiled.clear()
    with DataMesh(1).active():
        for x in inputs:
            blocked.step(x)
    assert compiled == []


def test_a_program_that_was_not_planned_is_compiled_when_it_is_needed() -> None:
    blocked = Blocked(SMALL, LARGE)
    ahead = CompileAhead([SMALL], blocked.lower, DataMesh(1))
    for event in blocked.allowed.values():
        event.set()
    list(ahead.wait(SMALL))

    said = set(ahead.wait(LARGE))

    assert said <= {"compiling 2 of 2: 16 tokens, 20 frames, 20 chunks (training)"}
    assert not ahead.busy
    ahead.close()


def test_an_error_of_a_compilation_is_raised_where_the_program_is_needed() -> None:
    def lower(program: Program) -> Any:
        if program == LARGE:
            raise ValueError("no such program")
        return jax.jit(jnp.sin).lower(1.0)

    ahead = CompileAhead([SMALL, LARGE], lower, DataMesh(1))

    list(ahead.wait(SMALL))
    with pytest.raises(ValueError, match="no such program"):
        list(ahead.wait(LARGE))
    ahead.close()


def test_programs_that_wait_are_not_compiled_after_the_end() -> None:
    blocked = Blocked(SMALL, LARGE)
    ahead = CompileAhead([SMALL, LARGE], blocked.lower, DataMesh(1))
    ahead.close()
    blocked.allowed[SMALL].set()

    list(ahead.wait(SMALL))

    with pytest.raises(CancelledError):
        list(ahead.wait(LARGE))


@pytest.mark.parametrize("overrides", [{}, {"mesh__devices": 2, "optim__accumulate": 2}])
def test_a_run_compiles_every_program_once_and_ahead(
    overrides: dict, feature_records: Path, tmp_path: Path, compiled: list[tuple[str, str]]
) -> None:
    # A seed of its own: no other test has compiled its step.
    train_in(tmp_path, feature_records, seed=4711, **overrides)

    large = [(name, thread) for name, thread in compiled if "train_step" in name or "infer_batch" in name]
    assert [(name, thread.partition("_")[0]) for name, thread in large] == [
        ("jit(train_step)", "compile"),
        ("jit(infer_batch)", "compile"),
    ]


@pytest.mark.parametrize(("purpose", "done"), [("training", 0), ("inference", 3)])
def test_a_request_to_stop_is_answered_while_the_run_waits_for_a_program(
    purpose: str, done: int, feature_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, lowered = threading.Event(), RunPrograms.lower

    def lower(self: Any, program: Program) -> Any:
        assert program.purpose != purpose or may_go_on.wait(300)
        return lowered(self, program)

    def waiting(self: Any, reason: str) -> None:
        if reason.endswith(f"({purpose})"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunPrograms, "lower", lower)
    monkeypatch.setattr(ProgressBar, "waiting", waiting)
    try:
        with pytest.raises(Stopped, match=f"Stopped on request: {done} of 6 steps are saved"):
            train_in(tmp_path / "stopped", feature_records)
    finally:
        may_go_on.set()
    assert Checkpoints(tmp_path / "stopped").find_latest_step() == (done or None)
    monkeypatch.undo()

    train_in(tmp_path / "stopped", feature_records)
    train_in(tmp_path / "whole", feature_records)

    steps = [[line["loss"] for line in logged(tmp_path / run)] for run in ("stopped", "whole")]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 6

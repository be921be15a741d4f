"""A compiled training or evaluation step of a paper-size model, on random data."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import paper_size, site_controls
from mme2e_jax.data.plan import Lengths
from mme2e_jax.evaluation import flops
from mme2e_jax.evaluation.inference import InferenceState, infer_batch
from mme2e_jax.models.mme2e import ModelSpec, stage_sizes
from mme2e_jax.models.variables import TrainState
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup
from mme2e_jax.training.lessons import compact_lesson
from mme2e_jax.training.programs import teacher_like
from mme2e_jax.training.step import compiler_options


class Program(NamedTuple):
    """A compiled step with its own state; `run` returns the shares of active sites per tower and stage."""

    run: Callable[[], dict[str, np.ndarray]]
    compile_seconds: float
    peak_bytes: int


class Trainee:
    """A model in training on one device; its programs share its state."""

    def __init__(
        self,
        model: str,
        threshold: float,
        overrides: Sequence[str] = (),
        utterances: int = paper_size.UTTERANCES,
        shares: Mapping[str, Sequence[float]] | None = None,
    ):
        """Initialises the model.

        Args:
          model: "dense", "sparse", or "taught", which is sparse with a teacher's lesson.
          threshold: attention threshold.
          overrides: config overrides, for example `model.width=0.25`.
          utterances: utterances in a batch.
          shares: per tower, the share of all sites that each stage keeps, at random sites; None for the sites that the
            fresh model selects.
        """
        family = "dense" if model == "dense" else "sparse"
        teaching = ["optim.dense_epochs=1", "optim.teacher_saliency=0.1"] if model == "taught" else []
        self.config = paper_size.experiment(family, [f"model.sparse_threshold={threshold}", *teaching, *overrides])
        self.threshold = jnp.float32(threshold)
        self.mesh = DataMesh(self.config.mesh.devices)
        dataset = paper_size.dataset(1)
        spec = model_spec(self.config, len(dataset.label_names), dataset.tokenizer)
        assert isinstance(spec, ModelSpec)
        self.spec = spec
        self.tx = setup.make_optimizer(self.config, total_steps=1000)
        variables = self.mesh.put_replicated(setup.start_variables(self.config, self.spec))
        self.state = TrainState(*self.mesh.put_replicated((jnp.int32(0), variables, self.tx.init(variables.params))))
        self.taught = model == "taught"
        self.utterances = utterances
        self.control: dict[str, np.ndarray] = {}
        for m, stages in (shares or {}).items():
            self.control |= site_controls.make_control(stages, stage_sizes(m), threshold, None)

    def program(self, mode: str, text_length: int) -> Program:
        """Compiles a training or an evaluation step."""
        batch = self.mesh.put_batch(paper_size.batch(text_length, self.utterances))
        lesson = compact_lesson(teacher_like(self.state.variables, self.spec), batch) if self.taught else None

        def parameters() -> InferenceState:
            return InferenceState(self.state.variables, self.threshold)

        start = time.perf_counter()
        if mode == "train":
            step = setup.make_step(self.config, paper_size.dataset(text_length), self.tx)
            jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
            lower = functools.partial(jitted.lower, self.state, batch, self.threshold, lesson)
        else:
            lower = functools.partial(infer_batch.lower, parameters(), batch)
        with site_controls.controlled(self.control) if self.control else contextlib.nullcontext():
            lowered = lower()
        compiled = lowered.compile()
        seconds = time.perf_counter() - start

        def train():
            self.state, metrics = jax.block_until_ready(compiled(self.state, batch, self.threshold, lesson))
            return jax.device_get(metrics.active)

        def evaluate():
            outputs = jax.block_until_ready(compiled(parameters(), batch))
            return {m: sites[:, 0] / sites[:, 1] for m, sites in jax.device_get(outputs.sites).items()}

        memory: Any = compiled.memory_analysis()
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return Program(train if mode == "train" else evaluate, seconds, held - memory.alias_size_in_bytes)

    def gflops(self, mode: str, text_length: int, active: dict[str, np.ndarray]) -> float:
        """Operations of a step over the whole batch, in billions; `active` are the shares of active sites."""
        lengths = paper_size.lengths(text_length)
        images = {"v": lengths.frames.sum(), "a": lengths.chunks.sum()}
        sites = {m: images[m] * np.prod(stage_sizes(m), axis=1) * shares for m, shares in active.items()}
        if mode == "train":
            macs = paper_size.training_macs(self.spec, lengths, sites)
            if self.taught:
                macs += self._score_gradient_macs(lengths, sites)
        else:
            macs = sum(sum(parts.values()) for parts in flops.macs(self.spec, lengths, sites).values())
        return 2e-9 * macs * self.utterances

    def _score_gradient_macs(self, lengths: Lengths, sites: flops.Sites) -> float:
        """What the scores of sites need to learn; without a teacher they get no gradient."""
        own = flops.macs(self.spec, lengths, {m: s.tolist() for m, s in sites.items()})
        return 2 * sum(parts.get("scores", 0.0) for parts in own.values())

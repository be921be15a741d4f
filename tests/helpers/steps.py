"""A few training steps and an evaluation of a config, without what surrounds them in a run."""

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mme2e_jax.config.devices import devices_to_use
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import Config
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import Dataset
from mme2e_jax.evaluation.inference import InferenceState, predict
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.towers import Stage
from mme2e_jax.models.variables import TrainState, Variables
from mme2e_jax.runs.load import make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup, step
from tests.helpers.closeness import moved


class Trained(NamedTuple):
    """What came of a few steps."""

    losses: list[float]
    start: dict[str, np.ndarray]  # variables before
    end: dict[str, np.ndarray]  # and after
    score: np.ndarray  # of the validation split, [n, l]


class Beginning(NamedTuple):
    """What the first step needs."""

    mesh: DataMesh
    batches: BatchLoader
    variables: Variables
    state: TrainState
    step: Callable


def begin(config: Any, dataset: Dataset) -> Beginning:
    """All that a config's training starts from, on the devices."""
    return begin_typed(parse_config(config), dataset)


def begin_typed(config: Config, dataset: Dataset) -> Beginning:
    """The same for a typed config."""
    mesh = DataMesh(devices_to_use(config, jax.device_count()))
    batches = make_batch_loader(config, dataset, mesh, config.optim.epochs)
    spec = model_spec(config, len(dataset.label_names), dataset.tokenizer)
    tx = setup.make_optimizer(config, batches.total_steps)
    variables = setup.start_variables(config, spec)

    def fresh_state(variables):
        return TrainState(jnp.zeros((), jnp.int32), variables, tx.init(variables.params))

    # Placed and donated as in a run, so that a run's compiled step serves here too.
    state = jax.jit(fresh_state, out_shardings=mesh.replicated)(mesh.put_replicated(variables))
    compiled = jax.jit(setup.make_step(config, dataset, tx), donate_argnums=0, compiler_options=step.compiler_options())
    return Beginning(mesh, batches, variables, state, compiled)


def compiled_step(config: Any, dataset: Dataset) -> jax.stages.Compiled:
    """A config's training step as the compiler made it for the first batch."""
    start = begin(config, dataset)
    batch = start.mesh.put_batch(next(start.batches.training(0)))
    with start.mesh.active():
        return start.step.lower(start.state, batch, jnp.float32(0.7)).compile()


def run_steps(config: Any, dataset: Dataset, steps: int, *, move: bool = False) -> Trained:
    """Trains for `steps` steps, at the final threshold, and evaluates the validation split.

    Args:
      config, dataset: as of a run.
      steps: number of training steps.
      move: whether to start from variables moved by float32's rounding, which shows how it grows.
    """
    mesh, batches, variables, state, train_step = begin(config, dataset)
    if move:
        variables = moved(variables)
        state = state._replace(variables=mesh.put_replicated(variables))
    threshold, _ = parse_config(config).site_selection
    losses = []
    for _, batch in zip(range(steps), batches.training(0), strict=False):
        with mesh.active():
            state, metrics = train_step(state, mesh.put_batch(batch), jnp.float32(threshold))
        losses.append(float(metrics.loss))
    parameters = InferenceState(state.variables, threshold)
    score = predict(parameters, batches.evaluation("valid"), config.optim.loss, mesh).score
    return Trained(losses, variables.arrays(), jax.device_get(state.variables.arrays()), score)


def keeping_gradient(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimizer, whose state is that of `tx` and the last gradient."""

    def init(params):
        return tx.init(params), jax.tree.map(jnp.zeros_like, params)

    def update(updates, state, params=None):
        changes, inner = tx.update(updates, state[0], params)
        return changes, (inner, updates)

    return optax.GradientTransformation(init, update)


@contextlib.contextmanager
def logits_in_metrics() -> Iterator[None]:
    """While a training step is traced, puts the logits into its metrics as if they were shares of active sites.

    So one program gives them, the gradient and the update: `metrics.active["logits"][0]`, [g, b, l].
    """

    def apply(*args, **kwargs):
        outputs, stats = model_variables.apply(*args, **kwargs)
        none = jnp.zeros(())
        logits = Stage(none, none, none, outputs.logits, jnp.ones(()), none)
        return outputs._replace(stages=outputs.stages | {"logits": [logits]}), stats

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "model_variables", SimpleNamespace(Variables=Variables, apply=apply))
        yield

"""What is learned and what is needed to learn on: pytrees, and the one place that splits and merges modules."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from mme2e_jax.batch import Batch
from mme2e_jax.models.dropout import DropoutSeed
from mme2e_jax.models.mme2e import MME2E, ModelSpec, Outputs


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variables:
    """A model as a pytree: the structure is static, the arrays are leaves."""

    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})
    params: nnx.State
    batch_stats: nnx.State


class TrainState(NamedTuple):
    """Everything that a training step changes."""

    step: Int[Array, ""]  # updates done
    variables: Variables
    optimizer: optax.OptState


def initialize(spec: ModelSpec, seed: int) -> Variables:
    """Fresh variables; pure, so that it can run under `jit` and `eval_shape`."""
    model = MME2E(spec, nnx.Rngs(params=jax.random.key(seed)))
    return Variables(*nnx.split(model, nnx.Param, nnx.BatchStat))


def apply(
    variables: Variables,
    batch: Batch,
    *,
    train: bool,
    threshold: Float[Array, ""] | float,
    seed: DropoutSeed | None,
) -> tuple[Outputs, nnx.State]:
    """Runs the model.

    Args:
      variables: of the model.
      batch: packed utterances.
      train: use the batch's statistics and update the running ones.
      threshold: of the sparse attention.
      seed: of dropout; None for none.

    Returns:
      Its outputs, and the batch statistics afterwards.
    """
    model = nnx.merge(variables.graphdef, variables.params, variables.batch_stats, copy=True)
    outputs = model(batch, train=train, threshold=threshold, seed=seed)
    return outputs, nnx.state(model, nnx.BatchStat)


def parameter_count(variables: Variables) -> int:
    """Number of learned values."""
    return sum(int(jnp.size(x)) for x in jax.tree.leaves(variables.params))

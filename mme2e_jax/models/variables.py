"""Model variables and training state as pytrees, and functions on them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from mme2e_jax.batch import AnyBatch
from mme2e_jax.models import initialization, late_fusion, mme2e
from mme2e_jax.models.dropout import DropoutSeed
from mme2e_jax.models.fusion import Outputs, sort_modalities
from mme2e_jax.models.late_fusion import LateFusion, LateFusionSpec
from mme2e_jax.models.mme2e import MME2E, ModelSpec
from mme2e_jax.runtime import pytree

Spec = ModelSpec | LateFusionSpec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variables:
    """A model as a pytree with a static structure."""

    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})
    params: nnx.State
    batch_stats: nnx.State

    def arrays(self) -> dict[str, Any]:
        """Parameters and statistics by path, as in "towers/v/low_level/conv/kernel"."""
        return pytree.flatten(self.params) | pytree.flatten(self.batch_stats)

    def with_arrays(self, arrays: Mapping[str, Any]) -> "Variables":
        """The same model with other arrays, by path."""
        params, batch_stats = (pytree.unflatten(part, arrays) for part in (self.params, self.batch_stats))
        return Variables(self.graphdef, params, batch_stats)


class TrainState(NamedTuple):
    """The state that a training step updates."""

    step: Int[Array, ""]  # number of steps done
    variables: Variables
    optimizer: optax.OptState
    teacher: Variables | None = None  # frozen

    def with_structure(self, graphdef: nnx.GraphDef) -> "TrainState":
        """The same arrays with another structure, see `structures`."""
        return self._replace(variables=dataclasses.replace(self.variables, graphdef=graphdef))


@functools.cache
def abstract_variables(spec: Spec) -> Variables:
    """The variables of a model as shapes and dtypes; computing them takes seconds."""

    def make():
        # nnx requires the generators; all parameters are 0.
        model = MME2E(spec, nnx.Rngs(0)) if isinstance(spec, ModelSpec) else LateFusion(spec, nnx.Rngs(0))
        return Variables(*nnx.split(model, nnx.Param, nnx.BatchStat))

    return jax.eval_shape(make)


def structures(spec: Spec) -> Callable[[float], nnx.GraphDef]:
    """The model's structure by threshold, with masks above `rows_threshold` and always the same variables."""
    usual = abstract_variables(spec).graphdef
    if not isinstance(spec, ModelSpec) or not spec.sparse or not spec.rows_threshold:
        return lambda threshold: usual
    masks = abstract_variables(dataclasses.replace(spec, rows_threshold=0.0)).graphdef
    return lambda threshold: usual if threshold <= spec.rows_threshold else masks


def initial_variables(spec: Spec, seed: int) -> Variables:
    """Initial variables, as numpy arrays."""
    abstract = abstract_variables(spec)
    shapes = {path: leaf.shape for path, leaf in abstract.arrays().items()}
    return abstract.with_arrays(initialization.initial_values(shapes, seed))


def apply(
    variables: Variables, batch: AnyBatch, *, train: bool, threshold: Float[Array, ""] | float, seed: DropoutSeed | None
) -> tuple[Outputs, nnx.State]:
    """Runs a model on a batch of the kind that it reads; returns the outputs and the updated batch statistics.

    `train` uses the statistics of the batch, not the running ones, and updates these. `threshold` is that of the sparse
    attention, in (0, 1]. `seed` is the dropout seed of the step, None for no dropout.
    """
    model = merge(variables)
    run: Any = model  # takes the kind of batch that it reads
    outputs = run(batch, train=train, threshold=threshold, seed=seed)
    return outputs, nnx.state(model, nnx.BatchStat)


def merge(variables: Variables) -> MME2E | LateFusion:
    """The module with its variables, the encoders' parameters rounded to the model's dtype."""
    # A copy, because rounding must not change the learned parameters.
    model = nnx.merge(variables.graphdef, variables.params, variables.batch_stats, copy=True)
    if isinstance(model, MME2E):
        model.round_encoders()
    return model


def fusion_order(spec: Spec) -> str:
    """A model's modalities in the order of its fusion weights."""
    return sort_modalities(spec.modalities, (mme2e if isinstance(spec, ModelSpec) else late_fusion).MODALITIES)


def fusion_weights(spec: Spec, variables: Variables) -> dict[str, float]:
    """The fusion weight of each modality; 1 for a single modality."""
    order = fusion_order(spec)
    if len(order) == 1:
        return {order: 1.0}
    return dict(zip(order, np.asarray(variables.arrays()["fusion"]).tolist(), strict=True))


def parameter_count(variables: Variables) -> int:
    """Number of learned parameters."""
    return sum(int(jnp.size(x)) for x in jax.tree.leaves(variables.params))

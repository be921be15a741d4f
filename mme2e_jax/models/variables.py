"""What is learned and what is needed to learn on: pytrees, and the one place that splits and merges modules."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from mme2e_jax.batch import AnyBatch
from mme2e_jax.models import late_fusion, mme2e, start
from mme2e_jax.models.dropout import DropoutSeed
from mme2e_jax.models.fusion import Outputs, in_order
from mme2e_jax.models.late_fusion import LateFusion, LateFusionSpec
from mme2e_jax.models.mme2e import MME2E, ModelSpec
from mme2e_jax.runtime import pytree

Spec = ModelSpec | LateFusionSpec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variables:
    """A model as a pytree: the structure is static, the arrays are leaves."""

    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})
    params: nnx.State
    batch_stats: nnx.State

    def arrays(self) -> dict[str, Any]:
        """Parameters and statistics by name, as in "towers/v/low_level/conv/kernel"."""
        return pytree.flatten(self.params) | pytree.flatten(self.batch_stats)

    def with_arrays(self, arrays: Mapping[str, Any]) -> "Variables":
        """The same model with other arrays, by name."""
        params, batch_stats = (pytree.unflatten(part, arrays) for part in (self.params, self.batch_stats))
        return Variables(self.graphdef, params, batch_stats)


class TrainState(NamedTuple):
    """Everything that a training step changes."""

    step: Int[Array, ""]  # batches learned from
    variables: Variables
    optimizer: optax.OptState

    def with_structure(self, graphdef: nnx.GraphDef) -> "TrainState":
        """The same arrays for a model of another structure, see `structures`."""
        return self._replace(variables=dataclasses.replace(self.variables, graphdef=graphdef))


def make_model(spec: Spec) -> MME2E | LateFusion:
    """The module that a spec describes, its parameters still 0."""
    return MME2E(spec, nnx.Rngs(0)) if isinstance(spec, ModelSpec) else LateFusion(spec, nnx.Rngs(0))


def abstract_variables(spec: Spec) -> Variables:
    """The variables of a model as shapes and dtypes; costs no memory."""

    def make():
        return Variables(*nnx.split(make_model(spec), nnx.Param, nnx.BatchStat))

    return jax.eval_shape(make)


def structures(spec: Spec) -> Callable[[float], nnx.GraphDef]:
    """Which structure a model has at a threshold of the sparse attention; all have the same variables.

    Above the threshold that its rows of active sites are made for, the model works with masks.
    """
    usual = abstract_variables(spec).graphdef
    if not isinstance(spec, ModelSpec) or not spec.sparse or not spec.rows_for:
        return lambda threshold: usual
    masks = abstract_variables(dataclasses.replace(spec, rows_for=0.0)).graphdef
    return lambda threshold: usual if threshold <= spec.rows_for else masks


def initial_variables(spec: Spec, seed: int) -> Variables:
    """The variables that training starts from, as numpy arrays."""
    abstract = abstract_variables(spec)
    shapes = {path: leaf.shape for path, leaf in abstract.arrays().items()}
    return abstract.with_arrays(start.draw(shapes, seed))


def apply(
    variables: Variables,
    batch: AnyBatch,
    *,
    train: bool,
    threshold: Float[Array, ""] | float,
    seed: DropoutSeed | None,
) -> tuple[Outputs, nnx.State]:
    """Runs the model.

    Args:
      variables: of the model.
      batch: utterances, of the kind that the model reads.
      train: use the batch's statistics and update the running ones.
      threshold: of the sparse attention.
      seed: of dropout; None for none.

    Returns:
      Its outputs, and the batch statistics afterwards.
    """
    model = _ready_to_run(variables)
    outputs = model(batch, train=train, threshold=threshold, seed=seed)
    return outputs, nnx.state(model, nnx.BatchStat)


def _ready_to_run(variables: Variables) -> Any:
    # A copy: what is learned is not rounded.
    model = nnx.merge(variables.graphdef, variables.params, variables.batch_stats, copy=True)
    if isinstance(model, MME2E):
        model.round_encoders()
    return model


def fusion_order(spec: Spec) -> str:
    """A model's modalities in the order in which its fusion stacks them."""
    return in_order(spec.modalities, (mme2e if isinstance(spec, ModelSpec) else late_fusion).MODALITIES)


def fusion_weights(spec: Spec, variables: Variables) -> dict[str, float]:
    """By what each modality's logits are multiplied before they are summed; 1 where there is but one modality."""
    order = fusion_order(spec)
    if len(order) == 1:
        return {order: 1.0}
    return dict(zip(order, np.asarray(variables.arrays()["fusion"]).tolist(), strict=True))


def parameter_count(variables: Variables) -> int:
    """Number of learned values."""
    return sum(int(jnp.size(x)) for x in jax.tree.leaves(variables.params))

"""One training step as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mme2e_jax.batch import AnyBatch
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.dropout import step_seed
from mme2e_jax.models.variables import TrainState
from mme2e_jax.training.losses import Loss


class StepMetrics(NamedTuple):
    """What a step reports, on the device."""

    loss: Float[Array, ""]  # mean over the step's utterances and labels
    gradient_norm: Float[Array, ""]
    active: dict[str, Float[Array, "k"]]  # share of sites the sparse towers worked on, per stage


TrainStep = Callable[[TrainState, AnyBatch, Float[Array, ""]], tuple[TrainState, StepMetrics]]


def make_train_step(
    tx: optax.GradientTransformation,
    loss_of: Loss,
    *,
    seed: int,
    attention_entropy: float,
    skip_nonfinite: bool = False,
) -> TrainStep:
    """The step `(state, batch, threshold) -> (state, metrics)`; jit it with the state donated.

    Args:
      tx: the optimiser.
      loss_of: of logits and labels.
      seed: of the run; dropout is a function of it and of the step number.
      attention_entropy: weight of a penalty, the mean over the sparse stages of exp(entropy of the attention) /
        candidates: 1 where attention is spread evenly, near 0 where it has gathered.
      skip_nonfinite: a step whose loss or gradient is not finite changes nothing but the number of steps.
    """

    def objective(params, state: TrainState, batch: AnyBatch, threshold):
        variables = model_variables.Variables(state.variables.graphdef, params, state.variables.batch_stats)
        dropout = step_seed(seed, state.step)
        outputs, batch_stats = model_variables.apply(variables, batch, train=True, threshold=threshold, seed=dropout)
        loss = loss_of(outputs.logits, batch.labels, batch.example >= 0)
        spreads = [stage.spread for stages in outputs.stages.values() for stage in stages]
        penalty = attention_entropy * sum(spreads) / len(spreads) if attention_entropy and spreads else 0.0
        return loss + penalty, (loss, outputs, batch_stats)

    def train_step(state: TrainState, batch: AnyBatch, threshold):
        params: Any = state.variables.params
        gradients = jax.grad(objective, has_aux=True)
        gradient, (loss, outputs, stats) = gradients(params, state, batch, threshold)
        # A batch whose utterances were all left out teaches nothing, not 0 / 0.
        learned = jnp.any(batch.example >= 0)
        gradient = jax.tree.map(lambda g: jnp.where(learned, g, 0), gradient)
        updates, opt_state = tx.update(gradient, state.optimizer, params)
        params = optax.apply_updates(params, updates)
        variables = model_variables.Variables(state.variables.graphdef, params, stats)
        active = {
            m: jnp.stack([s.active / jnp.maximum(s.total, 1) for s in stages]) for m, stages in outputs.stages.items()
        }
        metrics = StepMetrics(loss, optax.tree.norm(gradient), active)
        new = TrainState(state.step + 1, variables, opt_state)
        if skip_nonfinite:
            finite = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
            kept = state._replace(step=new.step)
            new = jax.tree.map(lambda changed, before: jnp.where(finite, changed, before), new, kept)
        return new, metrics

    return train_step


def compiler_options(backend: str, *, remat: bool) -> dict[str, str] | None:
    """What the compiler has to be told to compile a step whose model computes parts again for the gradient.

    Args:
      backend: that it is compiled for, as `jax.default_backend()` names it.
      remat: of the model.
    """
    if backend == "cpu" and remat:
        # This pass takes away the barriers between the first computation and the second, and both would be merged into
        # one whose results are kept. Other backends take them away late.
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return None


def sparse_threshold(step: int, total_steps: int, final: float, anneal: float) -> float:
    """Threshold at a step: from 1 linearly down to `final` over the first `anneal` share of the run's steps."""
    end = anneal * total_steps
    if step >= end:
        return final
    return 1.0 + (final - 1.0) * step / end

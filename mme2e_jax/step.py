"""One training step as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from mme2e_jax import state as states
from mme2e_jax.batch import Batch
from mme2e_jax.models.dropout import step_seed
from mme2e_jax.state import TrainState


class StepMetrics(NamedTuple):
    """What a step reports, on the device."""

    loss: Float[Array, ""]  # mean over the step's utterances and labels
    gradient_norm: Float[Array, ""]
    active: dict[str, Float[Array, "k"]]  # share of sites the sparse towers worked on, per stage


TrainStep = Callable[[TrainState, Batch, Float[Array, ""]], tuple[TrainState, StepMetrics]]


def bce_loss(
    logits: Float[Array, "g b l"],
    labels: Float[Array, "g b l"],
    valid: Bool[Array, "g b"],
    pos_weight: Float[Array, "l"],
) -> Float[Array, ""]:
    """Binary cross-entropy on logits, positives weighted, mean over labels and valid utterances."""
    weight = pos_weight[None, None]
    each = -(weight * labels * jax.nn.log_sigmoid(logits) + (1 - labels) * jax.nn.log_sigmoid(-logits))
    total = jnp.sum(jnp.where(valid[..., None], each, 0.0))
    return total / jnp.maximum(jnp.sum(valid) * logits.shape[-1], 1)


def positive_weights(positives: np.ndarray, utterances: int) -> np.ndarray:
    """Negatives over positives per label of the training split; an emotion that it never has weighs 1."""
    positives = np.asarray(positives, np.float64)
    return np.where(positives > 0, (utterances - positives) / np.maximum(positives, 1), 1.0).astype(np.float32)


def make_train_step(tx: optax.GradientTransformation, pos_weight: np.ndarray, seed: int) -> TrainStep:
    """The step `(state, batch, threshold) -> (state, metrics)`; jit it with the state donated.

    Args:
      tx: the optimiser.
      pos_weight: per label.
      seed: of the run; dropout is a function of it and of the step number.
    """

    def loss(params, state: TrainState, batch: Batch, threshold):
        variables = states.Variables(state.variables.graphdef, params, state.variables.batch_stats)
        dropout = step_seed(seed, state.step)
        outputs, batch_stats = states.apply(variables, batch, train=True, threshold=threshold, seed=dropout)
        value = bce_loss(outputs.logits, batch.labels, batch.example >= 0, jnp.asarray(pos_weight))
        return value, (outputs, batch_stats)

    def train_step(state: TrainState, batch: Batch, threshold):
        params: Any = state.variables.params
        (value, (outputs, stats)), gradient = jax.value_and_grad(loss, has_aux=True)(params, state, batch, threshold)
        updates, opt_state = tx.update(gradient, state.optimizer, params)
        params = optax.apply_updates(params, updates)
        variables = states.Variables(state.variables.graphdef, params, stats)
        active = {m: s.active / jnp.maximum(s.total, 1) for m, s in outputs.sites.items()}
        metrics = StepMetrics(value, optax.tree.norm(gradient), active)
        return TrainState(state.step + 1, variables, opt_state), metrics

    return train_step


def sparse_threshold(step: int, total_steps: int, final: float, anneal: float) -> float:
    """Threshold at a step: from 1 linearly down to `final` over the first `anneal` share of the run's steps."""
    end = anneal * total_steps
    if step >= end:
        return final
    return 1.0 + (final - 1.0) * step / end

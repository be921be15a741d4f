"""One training step as a pure function."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mme2e_jax.batch import AnyBatch
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.dropout import step_seed
from mme2e_jax.models.saliency import Lesson
from mme2e_jax.models.variables import TrainState
from mme2e_jax.training.losses import Loss
from mme2e_jax.training.teaching import Teaching, attention_loss, distillation_loss


class StepMetrics(NamedTuple):
    """Metrics of a step, on the device."""

    loss: Float[Array, ""]  # mean over the utterances and labels of the step
    gradient_norm: Float[Array, ""]
    active: dict[str, Float[Array, "k"]]  # share of active sites of the sparse towers, per stage


class TrainStep(Protocol):
    """A training step; the threshold is that of the sparse attention."""

    def __call__(
        self, state: TrainState, batch: AnyBatch, threshold: Float[Array, ""], lesson: Lesson | None = None
    ) -> tuple[TrainState, StepMetrics]: ...


def make_train_step(
    tx: optax.GradientTransformation,
    loss_of: Loss,
    *,
    seed: int,
    attention_entropy: float,
    teaching: Teaching | None = None,
    skip_nonfinite: bool = False,
) -> TrainStep:
    """The step `(state, batch, threshold, lesson) -> (state, metrics)`; jit it with the state donated.

    Dropout is a function of `seed` and of the step number. `attention_entropy` weighs a penalty, the mean over the
    sparse stages of exp(entropy of the attention) / candidates: 1 for uniform attention, near 0 for concentrated
    attention. `teaching` is how much a teacher counts; the lesson is None in a run without a teacher, and not `known`
    before the first taught step. With `skip_nonfinite` a step with a non-finite loss or gradient only advances the step
    number.
    """

    def objective(params, state: TrainState, batch: AnyBatch, threshold, lesson: Lesson | None):
        variables = model_variables.Variables(state.variables.graphdef, params, state.variables.batch_stats)
        dropout = step_seed(seed, state.step)
        outputs, batch_stats = model_variables.apply(variables, batch, train=True, threshold=threshold, seed=dropout)
        valid = batch.example >= 0
        loss = loss_of(outputs.logits, batch.labels, valid)
        spreads = [stage.spread for stages in outputs.stages.values() for stage in stages]
        penalty = attention_entropy * sum(spreads) / len(spreads) if attention_entropy and spreads else 0.0
        total = loss + penalty
        if teaching is not None and lesson is not None:
            if teaching.saliency:
                total += teaching.saliency * attention_loss(lesson.saliency, outputs.stages, teaching.exponent)
            if teaching.kd:
                distance = distillation_loss(teaching.distance, lesson.logits, outputs.logits, valid)
                total += teaching.kd * jnp.any(lesson.known) * (distance - loss)
        return total, (loss, outputs, batch_stats)

    def train_step(state: TrainState, batch: AnyBatch, threshold, lesson: Lesson | None = None):
        params: Any = state.variables.params
        gradients = jax.grad(objective, has_aux=True)
        gradient, (loss, outputs, stats) = gradients(params, state, batch, threshold, lesson)
        # The gradient of a batch without any valid utterance is 0, not 0 / 0.
        has_utterances = jnp.any(batch.example >= 0)
        gradient = jax.tree.map(lambda g: jnp.where(has_utterances, g, 0), gradient)
        updates, opt_state = tx.update(gradient, state.optimizer, params)
        params = optax.apply_updates(params, updates)
        variables = model_variables.Variables(state.variables.graphdef, params, stats)
        active = {
            m: jnp.stack([s.active / jnp.maximum(s.total, 1) for s in stages]) for m, stages in outputs.stages.items()
        }
        metrics = StepMetrics(loss, optax.tree.norm(gradient), active)
        new = TrainState(state.step + 1, variables, opt_state, state.teacher)
        if skip_nonfinite:
            finite = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
            kept = state._replace(step=new.step)
            new = jax.tree.map(lambda changed, before: jnp.where(finite, changed, before), new, kept)
        return new, metrics

    return train_step


def compiler_options() -> dict[str, str] | None:
    """Compiler options of a training step on the default backend."""
    if jax.default_backend() == "cpu":
        # This pass removes barriers before programs are fused. Dropout's hashes would be inlined everywhere, and the
        # recomputation of the towers (`model.remat`) merged with the first one. Other backends remove barriers late.
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return None

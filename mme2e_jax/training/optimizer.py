"""Adam, AdamW or SGD, with learning-rate factors by parameter path."""

import re
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from mme2e_jax.runtime import pytree

# First match wins. The paper trains ALBERT and the text head more slowly than the rest.
GROUPS: Sequence[tuple[str, str]] = (
    ("text", r"text/.*|heads/t/.*"),
    ("scores", r"towers/./scores/.*"),
    ("rest", r".*"),
)
SGD_MOMENTUM = 0.9


def group_labels(params: Any) -> Any:
    """Group name of every leaf of `params`, as a tree of the same structure."""
    return jax.tree.map(
        lambda path: next(g for g, pattern in GROUPS if re.fullmatch(pattern, path)), pytree.paths(params)
    )


def learning_rate(lr: float, schedule: str, total_updates: int) -> optax.Schedule:
    """Learning rate by update: constant, or a half cosine that reaches 0 at `total_updates`."""
    return optax.cosine_decay_schedule(lr, total_updates) if schedule == "cosine" else optax.constant_schedule(lr)


def optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    text_lr_factor: float,
    score_lr_factor: float = 1.0,
    weight_decay: float,
    clip: float,
    accumulate: int = 1,
) -> optax.GradientTransformation:
    """The optimizer `adam`, `adamw`, or `sgd` (momentum 0.9), with torch's defaults.

    `schedule` is the learning rate by update. That of the text group is divided by `text_lr_factor`, that of the sparse
    model's scores multiplied by `score_lr_factor`. `clip` is the largest global norm of the gradient of an update, 0
    for no clipping. Weight decay is as in torch: `adamw` shrinks the parameters by this share of the learning rate, the
    others add this share of the parameters to the clipped gradient. An update uses the mean of `accumulate` gradients.
    Such windows cross the ends of epochs; an incomplete window at the end of the run is dropped.
    """
    factors: dict[Hashable, Any] = {
        "text": optax.scale(1 / text_lr_factor),
        "scores": optax.identity() if score_lr_factor == 1 else optax.scale(score_lr_factor),
        "rest": optax.identity(),
    }
    decay = optax.add_decayed_weights(weight_decay) if weight_decay > 0 else optax.identity()
    adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
    update = {"adam": (decay, adam), "adamw": (adam, decay), "sgd": (decay, optax.trace(decay=SGD_MOMENTUM))}[name]
    tx = optax.chain(
        optax.clip_by_global_norm(clip) if clip > 0 else optax.identity(),
        *update,
        optax.multi_transform(factors, group_labels),
        optax.scale_by_learning_rate(schedule),
    )
    return tx if accumulate == 1 else optax.MultiSteps(tx, accumulate).gradient_transformation()


def without_moments(state: Any) -> Any:
    """The optimizer's state with moments of 0, numpy arrays, as at the start of a run; the schedule goes on."""
    moments = (optax.ScaleByAdamState, optax.TraceState)

    def restarted(part: Any) -> Any:
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), part) if isinstance(part, moments) else part

    return jax.tree.map(restarted, state, is_leaf=lambda part: isinstance(part, moments))

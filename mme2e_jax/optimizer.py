"""The optimiser: Adam, with learning-rate factors by regular expression over parameter paths."""

import re
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import optax

from mme2e_jax import tree

# First match wins. The paper trains ALBERT and the text head more slowly than the rest.
GROUPS: Sequence[tuple[str, str]] = (
    ("text", r"text/.*|heads/t/.*"),
    ("rest", r".*"),
)


def group_labels(params: Any) -> Any:
    """A tree like `params` that holds the name of each leaf's group."""
    return jax.tree.map(
        lambda path: next(g for g, pattern in GROUPS if re.fullmatch(pattern, path)), tree.paths(params)
    )


def learning_rate(lr: float, schedule: str, total_steps: int) -> optax.Schedule:
    """Learning rate by step: constant, or falling to 0 at `total_steps` along a half cosine."""
    if schedule == "cosine":
        return optax.cosine_decay_schedule(lr, total_steps)
    return optax.constant_schedule(lr)


def optimizer(schedule: optax.Schedule, text_lr_factor: float, clip: float) -> optax.GradientTransformation:
    """Adam with torch's defaults; the text group learns at the rate divided by `text_lr_factor`.

    Args:
      schedule: learning rate by step.
      text_lr_factor: above 0.
      clip: largest global norm of the gradient; 0 for no clipping.
    """
    factors: dict[Hashable, optax.GradientTransformation] = {
        "text": optax.scale(1 / text_lr_factor),
        "rest": optax.identity(),
    }
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip > 0 else optax.identity(),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
        optax.multi_transform(factors, group_labels),
        optax.scale_by_learning_rate(schedule),
    )

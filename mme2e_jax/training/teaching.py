"""Losses by which a teacher trains a sparse model.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width, `g` device groups, `b` utterances per group,
`l` labels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mme2e_jax.models.towers import Stage

TEMPERATURE = 4.0

Distance = Callable[[Float[Array, "g b l"], Float[Array, "g b l"]], Float[Array, "g b"]]


class Teaching(NamedTuple):
    """How much a teacher counts."""

    saliency: float  # weight of `attention_loss`, added to the loss
    exponent: float  # of the saliency in the targets; higher ones concentrate the attention on fewer sites
    kd: float  # share of `distillation_loss` in the loss, in [0, 1]
    distance: Distance  # of the loss, see `logit_distance`


def attention_loss(
    saliency: Mapping[str, Sequence[Float[Array, "n h w"]]], stages: Mapping[str, Sequence[Stage]], exponent: float
) -> Float[Array, ""]:
    """Mean over the stages of all towers of the cross-entropy between saliency and attention; 0 without towers."""
    each = [
        site_cross_entropy(target, stage.weight, exponent)
        for m, of_tower in stages.items()
        for target, stage in zip(saliency[m], of_tower, strict=True)
    ]
    return sum(each, jnp.zeros(())) / max(len(each), 1)


def site_cross_entropy(
    saliency: Float[Array, "n h w"], weight: Float[Array, "n h w"], exponent: float
) -> Float[Array, ""]:
    """Cross-entropy between saliency^exponent, normalised over the candidates, and attention; the mean over images.

    Attention is 0 outside the candidates. Images without salient candidates (padding, silence) do not count.
    """
    candidate = weight > 0
    target = jnp.where(candidate, saliency.astype(weight.dtype) ** exponent, 0.0)
    total = jnp.sum(target, axis=(1, 2))
    taught = total > 0
    each = -jnp.sum(target * jnp.log(jnp.where(candidate, weight, 1.0)), axis=(1, 2)) / jnp.where(taught, total, 1.0)
    return jnp.sum(jnp.where(taught, each, 0.0)) / jnp.maximum(jnp.sum(taught), 1)


def distillation_loss(
    distance: Distance, teacher: Float[Array, "g b l"], logits: Float[Array, "g b l"], valid: Bool[Array, "g b"]
) -> Float[Array, ""]:
    """Mean over the valid utterances of the distance between the logits of teacher and model."""
    return jnp.sum(jnp.where(valid, distance(teacher, logits), 0.0)) / jnp.maximum(jnp.sum(valid), 1)


def logit_distance(loss: str) -> Distance:
    """The distance of logits that suits a loss, 0 for equal ones.

    For `bce` and `ce` the divergence (Kullback-Leibler) of the probabilities at temperature 4, times 16, so that its
    gradient does not depend on the temperature; for `mse` and `l1` that loss itself.
    """
    t = TEMPERATURE
    return {
        "bce": lambda a, b: t * t * jnp.mean(_bernoulli(a / t, b / t), axis=-1),
        "ce": lambda a, b: t * t * _categorical(a / t, b / t),
        "mse": lambda a, b: jnp.mean(jnp.square(a - b), axis=-1),
        "l1": lambda a, b: jnp.mean(jnp.abs(a - b), axis=-1),
    }[loss]


def _categorical(a, b):
    return jnp.sum(jax.nn.softmax(a) * (jax.nn.log_softmax(a) - jax.nn.log_softmax(b)), axis=-1)


def _bernoulli(a, b):
    p = jax.nn.sigmoid(a)
    positive, negative = (jax.nn.log_sigmoid(sign * a) - jax.nn.log_sigmoid(sign * b) for sign in (1, -1))
    return p * positive + (1 - p) * negative

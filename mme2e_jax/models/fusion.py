"""Late fusion: a learned weighted sum of the modalities' logits.

Axis legend: `g` device groups, `b` utterances per group, `m` modalities, `l` labels.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mme2e_jax.models.towers import Stage


class Outputs(NamedTuple):
    """Outputs of a model for a batch."""

    logits: Float[Array, "g b l"]
    by_modality: dict[str, Float[Array, "g b l"]]  # before fusion
    stages: dict[str, list[Stage]]  # per sparse tower


def sort_modalities(modalities: str, order: str) -> str:
    """Sorts modalities by `order`; raises `ValueError` if they are not a non-empty subset of it."""
    if not modalities or set(modalities) - set(order) or len(set(modalities)) < len(modalities):
        raise ValueError(f"modalities must be a non-empty subset of {order!r}, found {modalities!r}.")
    return "".join(m for m in order if m in modalities)


def fuse(
    logits: Mapping[str, Float[Array, "g b l"]], modalities: str, weights: Float[Array, "m"]
) -> Float[Array, "g b l"]:
    """The weighted sum of at least two modalities' logits; `modalities` gives the order of the weights."""
    return jnp.einsum("gblm,m->gbl", jnp.stack([logits[m] for m in modalities], axis=-1), weights)

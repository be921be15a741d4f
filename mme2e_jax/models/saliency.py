"""Saliency of sites, computed by a frozen model: the target of attention.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width of a stage's sites, `g` device groups, `b`
utterances per group, `l` labels.
Source: our own; the gradient of the logits with respect to a mask of the features, as in work on pruning by
sensitivity.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mme2e_jax.batch import ArrayLike, Batch
from mme2e_jax.models.mme2e import MME2E, stage_sizes
from mme2e_jax.models.variables import Variables, merge


class Lesson(NamedTuple):
    """A teacher's saliency and logits for a batch, as arrays of numpy or JAX."""

    saliency: dict[str, list[ArrayLike]]  # [n, h, w] per tower and stage, at least 0; 0 for padding
    logits: ArrayLike  # float32 [g, b, l]
    known: ArrayLike  # bool [g, b], whether an utterance has a lesson; False for padding rows


def teach(teacher: Variables, batch: Batch) -> Lesson:
    """Saliency of all sites, and the logits, without dropout and with the running batch statistics.

    The saliency of a site in a stage is |d(half the sum over labels of the squared logits of its modality) / d m|,
    where m is a factor, of value 1, of the stage's input at the site. No image changes the logits of another utterance,
    so that one backward pass finds it for the whole batch.
    """
    model = merge(teacher)
    assert isinstance(model, MME2E)
    towers = [m for m in model.modalities if m != "t"]
    images = {"v": batch.faces, "a": batch.mel}
    counts = {m: images[m].shape[0] * images[m].shape[1] for m in towers}
    factors = {m: [jnp.ones((counts[m], *size)) for size in stage_sizes(m)] for m in towers}

    def half_squared_logits(factors):
        outputs = model(batch, train=False, threshold=1.0, seed=None, multipliers=factors)
        squares = [jnp.sum(jnp.square(outputs.by_modality[m])) for m in towers]
        return 0.5 * sum(squares, jnp.zeros(())), outputs.logits

    gradients, logits = jax.grad(half_squared_logits, has_aux=True)(factors)
    return Lesson(jax.tree.map(jnp.abs, gradients), logits, batch.example >= 0)

"""Training losses and the label weights and checks that they need.

Axis legend: `g` device groups, `b` utterances per group, `n` utterances of a split, `l` labels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mme2e_jax.data.dataset import Dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.evaluation.tasks import TASKS

Loss = Callable[[Float[Array, "g b l"], Float[Array, "g b l"], Bool[Array, "g b"]], Float[Array, ""]]


def make_loss(name: str, pos_weight: np.ndarray) -> Loss:
    """Makes the loss `(logits, labels, valid) -> mean over the valid utterances`.

    `name` is `bce` (binary cross-entropy on logits, mean over labels), `ce` (cross-entropy over the labels), or `mse`
    or `l1` (of the logits themselves, mean over labels). Only `bce` uses `pos_weight`, the weight of the positives of
    each label, float [l].
    """
    each = {
        "bce": lambda logits, labels: jnp.mean(_binary_cross_entropy(logits, labels, jnp.asarray(pos_weight)), axis=-1),
        "ce": lambda logits, labels: -jnp.sum(labels * jax.nn.log_softmax(logits), axis=-1),
        "mse": lambda logits, labels: jnp.mean(jnp.square(logits - labels), axis=-1),
        "l1": lambda logits, labels: jnp.mean(jnp.abs(logits - labels), axis=-1),
    }[name]

    def loss(logits, labels, valid):
        return jnp.sum(jnp.where(valid, each(logits, labels), 0.0)) / jnp.maximum(jnp.sum(valid), 1)

    return loss


def _binary_cross_entropy(logits, labels, pos_weight):
    weight = pos_weight[None, None]
    return -(weight * labels * jax.nn.log_sigmoid(logits) + (1 - labels) * jax.nn.log_sigmoid(-logits))


def positive_weights(positives: np.ndarray, utterances: int) -> np.ndarray:
    """Negatives over positives per label of the training split, float [l]; 1 for an emotion without positives."""
    positives = np.asarray(positives, np.float64)
    return np.where(positives > 0, (utterances - positives) / np.maximum(positives, 1), 1.0).astype(np.float32)


def check_labels(name: str, dataset: Dataset) -> None:
    """Raises `UserError` if a loss expects one emotion per utterance and the labels differ from that."""
    if TASKS[name] is not Task.SINGLE_LABEL:
        return
    for split in dataset.splits.values():
        if split.positives.sum() != len(split):
            raise UserError(
                f"config.optim.loss: {name} expects exactly one emotion per utterance; the {split.name} split of "
                f"{dataset.directory} has {len(split)} utterances with {split.positives.sum()} emotions. Use bce."
            )

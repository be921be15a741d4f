"""Evaluation as pure functions of variables and batches.

Axis legend: `g` device groups, `b` utterances per group, `n` utterances of a split, `l` labels.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from mme2e_jax import metrics, state
from mme2e_jax.batch import Batch
from mme2e_jax.metrics import Metrics
from mme2e_jax.sharding import DataMesh
from mme2e_jax.state import Variables


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parameters:
    """What prediction is a function of, beside the batch."""

    variables: Variables
    threshold: Float[Array, ""] | float  # of the sparse attention


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model with what turns its logits into decisions."""

    parameters: Parameters
    label_names: tuple[str, ...]
    thresholds: Mapping[str, float]  # per label, of the probability
    mesh: DataMesh


class Predictions(NamedTuple):
    """Of a split, in stored order, on the host."""

    probability: np.ndarray  # float64 [n, l]
    truth: np.ndarray  # float32 [n, l]


@jax.jit
def predict_logits(params: Parameters, batch: Batch) -> Float[Array, "g b l"]:
    """Logits of every utterance of a batch; those of padding rows have no meaning."""
    outputs, _ = state.apply(params.variables, batch, train=False, threshold=params.threshold, seed=None)
    return outputs.logits


def predict(params: Parameters, batches: Iterable[Batch], mesh: DataMesh) -> Predictions:
    """Predictions for all utterances of the batches.

    Args:
      params: of the model.
      batches: numpy batches, this process's part of each; every utterance once.
      mesh: where to compute.
    """
    logits, labels, examples = [], [], []
    for batch in batches:
        placed = mesh.put_batch(batch)
        # Every process gets all predictions: scores such as F1 are not sums over parts.
        rows = mesh.gather((predict_logits(params, placed), placed.labels, placed.example))
        for part, row in zip((logits, labels, examples), rows, strict=True):
            part.append(row.reshape(-1, *row.shape[2:]))
    example = np.concatenate(examples)
    order = np.argsort(example)[np.sum(example < 0) :]
    probability = 1 / (1 + np.exp(-np.concatenate(logits)[order].astype(np.float64)))
    return Predictions(probability, np.concatenate(labels)[order])


def evaluate(model: Model, batches: Iterable[Batch]) -> Metrics:
    """Scores of a trained model, by its own thresholds."""
    probability, truth = predict(model.parameters, batches, model.mesh)
    return metrics.compute(probability, truth, model.label_names, model.thresholds)

"""Evaluation as pure functions of variables and batches.

Axis legend: `g` device groups, `b` utterances per group, `n` utterances of a split, `l` labels,
`k` sparse stages, `i` images (frames or mel chunks), `h`, `w` height and width of their sites.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mme2e_jax.batch import AnyBatch
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.variables import Variables
from mme2e_jax.runtime.sharding import DataMesh


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
    thresholds: Mapping[str, float]  # per label, of the score
    loss: str  # what it was trained on: says what its logits mean
    mesh: DataMesh


class Predictions(NamedTuple):
    """Of a split, in stored order, on the host."""

    score: np.ndarray  # float64 [n, l], see `objective.scores`
    truth: np.ndarray  # float32 [n, l]
    sites: dict[str, np.ndarray]  # float64 [k, 2] per sparse tower: per stage, sites it worked on, and all
    by_modality: dict[str, np.ndarray]  # float32 [n, l] per modality: its logits, before they are mixed
    example: np.ndarray  # int32 [n], index in the split: some may have been left out


class Decisions(NamedTuple):
    """Of a split, in stored order."""

    score: np.ndarray  # float64 [n, l]
    truth: np.ndarray  # bool [n, l]
    predicted: np.ndarray  # bool [n, l], what is decided by the scores


class BatchOutputs(NamedTuple):
    """Of one batch, on the devices."""

    logits: Float[Array, "g b l"]  # those of padding rows have no meaning
    sites: dict[str, Float[Array, "k 2"]]  # as in Predictions, over the batch
    by_modality: dict[str, Float[Array, "g b l"]]  # before fusion
    kept: dict[str, list[Bool[Array, "i h w"]]]  # per sparse tower and stage, which sites it worked on, group by group


class _Part(NamedTuple):
    """What is kept of a batch, row by row."""

    logits: Any
    labels: Any
    example: Any
    by_modality: dict[str, Any]


@jax.jit
def run_batch(params: Parameters, batch: AnyBatch) -> BatchOutputs:
    """What the model says about a batch, and which sites its sparse towers looked at for that."""
    outputs, _ = model_variables.apply(params.variables, batch, train=False, threshold=params.threshold, seed=None)
    sites = {m: jnp.array([(s.active, s.total) for s in stages]) for m, stages in outputs.stages.items()}
    kept = {m: [stage.kept for stage in stages] for m, stages in outputs.stages.items()}
    return BatchOutputs(outputs.logits, sites, outputs.by_modality, kept)


def predict_logits(params: Parameters, batch: AnyBatch) -> Float[Array, "g b l"]:
    """Logits of every utterance of a batch; those of padding rows have no meaning."""
    return run_batch(params, batch).logits


def predict(params: Parameters, batches: Iterable[AnyBatch], loss: str, mesh: DataMesh) -> Predictions:
    """Predictions for all utterances of the batches.

    Args:
      params: of the model.
      batches: numpy batches, this process's part of each; every utterance once.
      loss: name of the one the model was trained on.
      mesh: where to compute.
    """
    parts: list[_Part] = []
    sites: dict[str, np.ndarray] = {}
    for batch in batches:
        placed = mesh.put_batch(batch)
        with mesh.active():
            outputs = run_batch(params, placed)
        # Every process gets all predictions: scores such as F1 are not sums over parts.
        part = _Part(outputs.logits, placed.labels, placed.example, outputs.by_modality)
        rows, counts = mesh.gather((part, outputs.sites))
        parts.append(jax.tree.map(lambda row: row.reshape(-1, *row.shape[2:]), rows))
        sites = {m: sites.get(m, 0.0) + count.astype(np.float64) for m, count in counts.items()}
    whole = jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
    order = np.argsort(whole.example)[np.sum(whole.example < 0) :]
    logits, labels, example, by_modality = jax.tree.map(lambda rows: rows[order], whole)
    return Predictions(tasks.scores(logits, loss), labels, sites, by_modality, example)


def evaluate(model: Model, batches: Iterable[AnyBatch]) -> Metrics:
    """Scores of a trained model, by its own thresholds."""
    return judge(model, predict(model.parameters, batches, model.loss, model.mesh))


def judge(model: Model, predictions: Predictions) -> Metrics:
    """Scores of predictions, by the model's thresholds."""
    score, truth = predictions.score, predictions.truth
    return metrics.compute(score, truth, model.label_names, model.thresholds, tasks.TASKS[model.loss])


def decisions(model: Model, predictions: Predictions) -> Decisions:
    """Predictions with what the model decides by them."""
    task = tasks.TASKS[model.loss]
    predicted = metrics.decide(predictions.score, model.label_names, model.thresholds, task)
    # As `metrics.compute` counts positives.
    return Decisions(predictions.score, predictions.truth > 0.5, predicted)

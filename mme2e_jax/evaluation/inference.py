"""Inference over a split, and the decisions and scores that follow.

Axis legend: `g` device groups, `b` utterances per group, `n` utterances of a split, `l` labels,
`k` sparse stages, `i` images (frames or mel chunks), `h`, `w` height and width of their sites.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mme2e_jax.batch import AnyBatch, Batch
from mme2e_jax.data.plan import Lengths
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.attention_maps import AttentionMapStore
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.variables import Variables
from mme2e_jax.runtime.sharding import DataMesh


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class InferenceState:
    """The arrays that logits depend on, except for the batch."""

    variables: Variables
    threshold: Float[Array, ""] | float  # of the sparse attention


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model and how its logits become decisions."""

    state: InferenceState
    label_names: tuple[str, ...]
    thresholds: Mapping[str, float]  # per label, of the score
    loss: str  # name of the training loss, which defines what logits mean
    mesh: DataMesh


class Predictions(NamedTuple):
    """Model outputs for a split, in stored order, on the host."""

    score: np.ndarray  # float64 [n, l], see `tasks.scores`
    truth: np.ndarray  # float32 [n, l]
    sites: dict[str, np.ndarray]  # float64 [k, 2] per sparse tower: active sites and all sites of each stage
    by_modality: dict[str, np.ndarray]  # float32 [n, l] per modality: its logits before fusion
    example: np.ndarray  # int32 [n], index in the split; unusable records are left out
    # int32 [n] each: what the model read of each utterance; rows of features for baselines.
    lengths: Lengths
    attention_maps: AttentionMapStore | None = None  # None unless requested


class Decisions(NamedTuple):
    """Scores and decisions for a split, in stored order."""

    score: np.ndarray  # float64 [n, l]
    truth: np.ndarray  # bool [n, l]
    predicted: np.ndarray  # bool [n, l]

    def always_predicted(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """Labels that are predicted for every utterance."""
        columns = zip(label_names, self.predicted.T, strict=True)
        return tuple(name for name, predicted in columns if predicted.all())


class SplitResult(NamedTuple):
    """One pass over a split: the model's outputs, its decisions and their scores."""

    predictions: Predictions
    decisions: Decisions
    scores: Metrics


class BatchOutputs(NamedTuple):
    """Model outputs for one batch, on the devices."""

    logits: Float[Array, "g b l"]  # those of padding rows have no meaning
    sites: dict[str, Float[Array, "k 2"]]  # as in Predictions, over the batch
    by_modality: dict[str, Float[Array, "g b l"]]  # before fusion
    kept: dict[str, list[Bool[Array, "i h w"]]]  # kept sites per sparse tower and stage, group by group


class _Rows(NamedTuple):
    logits: Any
    labels: Any
    example: Any
    by_modality: dict[str, Any]
    lengths: Lengths


@jax.jit
def infer_batch(state: InferenceState, batch: AnyBatch) -> BatchOutputs:
    """Runs the model on a batch."""
    outputs, _ = model_variables.apply(state.variables, batch, train=False, threshold=state.threshold, seed=None)
    sites = {m: jnp.array([(s.active, s.total) for s in stages]) for m, stages in outputs.stages.items()}
    kept = {m: [stage.kept for stage in stages] for m, stages in outputs.stages.items()}
    return BatchOutputs(outputs.logits, sites, outputs.by_modality, kept)


def predict(
    state: InferenceState, batches: Iterable[AnyBatch], loss: str, mesh: DataMesh, *, keep_maps: bool = False
) -> Predictions:
    """Runs the model once on all batches of a split. Every process must call it and gets all predictions.

    The numpy batches are this process's part of each, with every utterance once. `keep_maps` keeps the attention maps.
    """
    parts: list[_Rows] = []
    sites: dict[str, np.ndarray] = {}
    maps = AttentionMapStore() if keep_maps else None
    for batch in batches:
        placed = mesh.put_batch(batch)
        with mesh.active():
            outputs = infer_batch(state, placed)
        # Every process gets all predictions: scores such as F1 are not sums over parts.
        part = _Rows(outputs.logits, placed.labels, placed.example, outputs.by_modality, _lengths(placed))
        rows, counts = mesh.gather((part, outputs.sites))
        if maps is not None and outputs.kept and isinstance(placed, Batch):
            kept, frames, chunks = mesh.gather((outputs.kept, placed.frame_count, placed.chunk_count))
            maps.add(kept, rows.example, {"v": frames, "a": chunks})
        parts.append(jax.tree.map(lambda row: row.reshape(-1, *row.shape[2:]), rows))
        sites = {m: sites.get(m, 0.0) + count.astype(np.float64) for m, count in counts.items()}
    whole = jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
    order = np.argsort(whole.example)[np.sum(whole.example < 0) :]
    logits, labels, example, by_modality, lengths = jax.tree.map(lambda rows: rows[order], whole)
    return Predictions(tasks.scores(logits, loss), labels, sites, by_modality, example, lengths, maps)


def _lengths(batch: AnyBatch) -> Lengths:
    if isinstance(batch, Batch):
        return Lengths(batch.token_count, batch.frame_count, batch.chunk_count)
    return Lengths(batch.text_count, batch.video_count, batch.audio_count)


def score_predictions(model: Model, predictions: Predictions) -> Metrics:
    """Scores predictions by the model's thresholds."""
    score, truth = predictions.score, predictions.truth
    return metrics.compute(score, truth, model.label_names, model.thresholds, tasks.TASKS[model.loss])


def decide(model: Model, predictions: Predictions) -> Decisions:
    """Decides on every label by the model's thresholds."""
    task = tasks.TASKS[model.loss]
    predicted = metrics.decide(predictions.score, model.label_names, model.thresholds, task)
    # As `metrics.compute` counts positives.
    return Decisions(predictions.score, predictions.truth > 0.5, predicted)

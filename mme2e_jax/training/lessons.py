"""Stores a teacher's saliency and logits for all training utterances.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width of a stage's sites, `g` device groups, `b`
utterances per group.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16

from mme2e_jax.batch import Batch
from mme2e_jax.evaluation.attention_maps import utterance_sites
from mme2e_jax.models.mme2e import stage_sizes
from mme2e_jax.models.saliency import Lesson, teach
from mme2e_jax.models.variables import Variables
from mme2e_jax.runtime.sharding import DataMesh


@jax.jit
def compact_lesson(teacher: Variables, batch: Batch) -> Lesson:
    """A lesson whose saliency is relative to the largest of its image, in float16."""
    lesson = teach(teacher, batch)
    return lesson._replace(saliency=jax.tree.map(_relative, lesson.saliency))


def _relative(saliency: Float[Array, "n h w"]) -> Float16[Array, "n h w"]:
    largest = jnp.max(saliency, axis=(1, 2), keepdims=True)
    # Smaller numbers count as 0 in a division. NaN stays, so that the loss shows it.
    return (saliency / jnp.where(largest < jnp.finfo(largest.dtype).tiny, 1, largest)).astype(jnp.float16)


class LessonStore:
    """The lessons of all utterances of the training split, in the host's memory.

    Every process holds all of them, because batches are shuffled: two bytes for each of a face's 756 sites and a mel
    chunk's 1,344, about 1.1 GB for CMU-MOSEI's 16,326 training utterances of 14 frames and 18 chunks.
    """

    def __init__(self, modalities: str):
        """Args: modalities: those of the model; all but text have saliency."""
        self._towers = [m for m in modalities if m != "t"]
        self._stored: dict[int, tuple[dict[str, list[np.ndarray]], np.ndarray]] = {}

    @property
    def empty(self) -> bool:
        """Whether no lesson was added yet."""
        return not self._stored

    def add_all(self, teacher: Variables, batches: Iterable[Batch], mesh: DataMesh) -> None:
        """Runs the teacher on batches and stores the lessons. Every process must call it with its part of each."""
        for batch in batches:
            placed = mesh.put_batch(batch)
            with mesh.active():
                lesson = compact_lesson(teacher, placed)
            lesson, example, frames, chunks = mesh.gather(
                (lesson, placed.example, placed.frame_count, placed.chunk_count)
            )
            counts = {"v": frames, "a": chunks}
            for g, b in np.argwhere(example >= 0).tolist():
                # Copies, so that the arrays of the batch are freed.
                sites = {
                    m: [utterance_sites(stage, counts[m], g, b).copy() for stage in stages]
                    for m, stages in lesson.saliency.items()
                }
                self._stored[int(example[g, b])] = sites, lesson.logits[g, b]

    def for_batch(self, batch: Batch) -> Lesson:
        """The lessons of a batch of numpy arrays, 0 and not `known` for utterances that have none."""
        groups, rows = batch.example.shape
        images: dict[str, tuple[int, Any]] = {
            "v": (batch.faces.shape[1], batch.frame_count),
            "a": (batch.mel.shape[1], batch.chunk_count),
        }
        saliency = {
            m: [np.zeros((groups, images[m][0], *size), np.float16) for size in stage_sizes(m)] for m in self._towers
        }
        logits, known = np.zeros(batch.labels.shape, np.float32), np.zeros((groups, rows), bool)
        for g, b in np.argwhere(batch.example >= 0).tolist():
            if stored := self._stored.get(int(batch.example[g, b])):
                sites, logits[g, b] = stored
                known[g, b] = True
                for m, stages in sites.items():
                    start = int(images[m][1][g, :b].sum())
                    for whole, stage in zip(saliency[m], stages, strict=True):
                        whole[g, start : start + len(stage)] = stage
        packed = {m: [stage.reshape(-1, *stage.shape[2:]) for stage in stages] for m, stages in saliency.items()}
        return Lesson(packed, logits, known)

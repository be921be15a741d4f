"""Which sites a sparse model kept of a few utterances of a split.

By the program and the batches of the evaluation itself: nothing is compiled, and these are the sites that its
predictions came from, to the last one. All processes of a run take part.

Axis legend: `g` device groups, `b` utterances per group, `i` images (frames or mel chunks) of an utterance, `h`, `w`
height and width of a stage's sites.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from mme2e_jax.batch import Batch
from mme2e_jax.evaluation.inference import Parameters, run_batch
from mme2e_jax.runtime.sharding import DataMesh

# Per tower and stage, which sites were kept: bool [i, h, w].
Kept = Mapping[str, list[np.ndarray]]


def kept_sites(
    params: Parameters, batches: Iterable[Batch], mesh: DataMesh, examples: Collection[int]
) -> dict[int, Kept]:
    """The kept sites of utterances, by index in their split.

    Args:
      params: of an end-to-end model; of a dense one nothing is returned.
      batches: numpy batches that hold the utterances, this process's part of each.
      mesh: where to compute.
      examples: the utterances' indices.
    """
    found: dict[int, Kept] = {}
    for batch in batches:
        placed = mesh.put_batch(batch)
        with mesh.active():
            kept = run_batch(params, placed).kept
        kept, example, frames, chunks = mesh.gather((kept, placed.example, placed.frame_count, placed.chunk_count))
        count = {"v": frames, "a": chunks}
        for g, b in np.argwhere(np.isin(example, list(examples))).tolist():
            found[int(example[g, b])] = {
                m: [of_utterance(stage, count[m], g, b) for stage in stages] for m, stages in kept.items()
            }
    return found if any(found.values()) else {}


def of_utterance(
    sites: Bool[np.ndarray, "gi h w"], count: Int[np.ndarray, "g b"], g: int, b: int
) -> Bool[np.ndarray, "i h w"]:
    """An utterance's part of what is packed end to end in each group.

    Args:
      sites: of all images, group by group.
      count: images of each utterance.
      g, b: group of the utterance, and its row there.
    """
    group: Any = sites.reshape(len(count), -1, *sites.shape[1:])[g]
    start = int(count[g, :b].sum())
    return group[start : start + int(count[g, b])]

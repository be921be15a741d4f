"""Attention maps of utterances: the sites that a sparse model kept.

Axis legend: `g` device groups, `b` utterances per group, `n` images of an utterance, `h`, `w` size of a stage.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

# Of one utterance, per sparse tower and stage: which sites were kept, bool [n, h, w].
AttentionMaps = Mapping[str, Sequence[np.ndarray]]


class AttentionMapStore:
    """Attention maps of all utterances of a split, one bit per site.

    The report chooses its utterances by their scores, which are known after the last batch. A face has 24*24 + 12*12 +
    6*6 = 756 sites (95 bytes), a mel chunk 64*16 + 32*8 + 16*4 = 1,344 (168 bytes): MOSEI's 4,662 test utterances of
    about 15 frames and 20 chunks take 22 MB, and would take 180 MB as bool arrays.
    """

    def __init__(self) -> None:
        self._packed: dict[int, dict[str, list[tuple[tuple[int, ...], bytes]]]] = {}

    def add(
        self,
        kept: Mapping[str, Sequence[np.ndarray]],
        example: Int[np.ndarray, "g b"],
        image_counts: Mapping[str, Int[np.ndarray, "g b"]],
    ) -> None:
        """Adds the utterances of a batch.

        `kept` are the kept sites per tower and stage, bool `[g*images, h, w]`, group by group; `example` is the index
        of each utterance in its split, -1 for a padding row.
        """
        for g, b in np.argwhere(example >= 0).tolist():
            self._packed[int(example[g, b])] = {
                m: [_packed(utterance_sites(stage, image_counts[m], g, b)) for stage in stages]
                for m, stages in kept.items()
            }

    def __getitem__(self, example: int) -> AttentionMaps:
        """The maps of an utterance, by its index in the split; empty for a model without sparse towers."""
        packed = self._packed.get(example, {})
        return {m: [_unpacked(*stage) for stage in stages] for m, stages in packed.items()}


def utterance_sites(
    sites: Shaped[np.ndarray, "g*n h w"], count: Int[np.ndarray, "g b"], g: int, b: int
) -> Shaped[np.ndarray, "n h w"]:
    """The part of utterance `b` of group `g` in images packed end to end in each group, `count` per utterance."""
    group: Any = sites.reshape(len(count), -1, *sites.shape[1:])[g]
    start = int(count[g, :b].sum())
    return group[start : start + int(count[g, b])]


def _packed(sites: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return sites.shape, np.packbits(sites).tobytes()


def _unpacked(shape: tuple[int, ...], packed: bytes) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=math.prod(shape))
    return bits.astype(bool).reshape(shape)

"""Batches utterances of a clip: `t` tokens, `f` frames, `c` chunks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mme2e_jax.batch import Batch
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS

_CHUNK_SECONDS = 0.4


class Capacity(NamedTuple):
    """Numbers of frames and chunks that a batch is padded to; few different ones, so that few programs are compiled."""

    frames: int
    chunks: int

    @classmethod
    def of_window(cls, frame_interval_ms: float, seconds: float) -> "Capacity":
        """The capacity that a window needs."""
        # One more chunk: the last one is padded, and sound tracks are slightly longer than they state.
        return cls(math.ceil(1000 * seconds / frame_interval_ms), math.ceil(seconds / _CHUNK_SECONDS) + 1)

    def fitting(self, frames: int, chunks: int) -> "Capacity":
        """The smallest doubling that holds the given numbers."""
        factor = 1
        while frames > factor * self.frames or chunks > factor * self.chunks:
            factor *= 2
        return Capacity(self.frames * factor, self.chunks * factor)


class Tokens(NamedTuple):
    """The text input of a model."""

    ids: np.ndarray  # int32 [t]
    left_out: int  # number of tokens that were cut off


class ModelInput(NamedTuple):
    """The arrays of one utterance: token ids int32 `[t]`, crops uint8 `[f, 48, 48, 3]`, mel power `[c, 128, 32]`."""

    ids: np.ndarray
    faces: np.ndarray
    mel: np.ndarray


def cut_tokens(ids: np.ndarray, longest: int, sep: int) -> Tokens:
    """Cuts a text to at most `longest` tokens; a cut text still ends with [SEP], as in training."""
    if len(ids) <= longest:
        return Tokens(ids, 0)
    return Tokens(np.append(ids[: longest - 1], sep).astype(np.int32), len(ids) - longest)


def make_batch(inputs: Sequence[ModelInput], rows: int, tokens: int, window: Capacity, labels: int) -> Batch:
    """Returns a batch of one group of `rows` utterances, for a model with a number of `labels`.

    Token ids are padded to `tokens`; crops and chunks lie end to end, padded to the capacity of `rows` windows, which
    is doubled where it is too small. Rows without an input are padding.
    """
    frames, chunks = (sum(map(len, arrays)) for arrays in zip(*((x.faces, x.mel) for x in inputs), strict=True))
    capacity = Capacity(rows * window.frames, rows * window.chunks).fitting(frames, chunks)
    batch = Batch(
        token_ids=np.zeros((1, rows, tokens), np.int32),
        token_count=np.zeros((1, rows), np.int32),
        faces=np.zeros((1, capacity.frames, FACE_SIZE, FACE_SIZE, 3), np.uint8),
        frame_count=np.zeros((1, rows), np.int32),
        mel=np.zeros((1, capacity.chunks, MEL_BANDS, CHUNK_FRAMES), np.float32),
        chunk_count=np.zeros((1, rows), np.int32),
        labels=np.zeros((1, rows, labels), np.float32),
        example=np.where(np.arange(rows) < len(inputs), np.arange(rows), -1).astype(np.int32)[None],
    )
    for row, (ids, faces, mel) in enumerate(inputs):
        batch.token_ids[0, row, : len(ids)] = ids
        batch.token_count[0, row] = len(ids)
        for packed, counts, items in ((batch.faces, batch.frame_count, faces), (batch.mel, batch.chunk_count, mel)):
            start = int(counts.sum())
            packed[0, start : start + len(items)] = items
            counts[0, row] = len(items)
    return batch

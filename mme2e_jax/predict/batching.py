"""Batches one utterance of a clip: `t` tokens, `f` frames, `c` chunks."""

import math
from typing import NamedTuple

import numpy as np

from mme2e_jax.batch import Batch
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.predict.cues import LONGEST_WINDOW_SECONDS

_CHUNK_SECONDS = 0.4


class Capacity(NamedTuple):
    """Numbers of frames and chunks that a batch is padded to; few different ones, so that few programs are compiled."""

    frames: int
    chunks: int

    @classmethod
    def of_window(cls, frame_interval_ms: float) -> "Capacity":
        """The capacity that the longest window needs."""
        # One more chunk: the last one is padded, and sound tracks are slightly longer than they state.
        seconds = LONGEST_WINDOW_SECONDS
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


def cut_tokens(ids: np.ndarray, longest: int, sep: int) -> Tokens:
    """Cuts a text to at most `longest` tokens; a cut text still ends with [SEP], as in training."""
    if len(ids) <= longest:
        return Tokens(ids, 0)
    return Tokens(np.append(ids[: longest - 1], sep).astype(np.int32), len(ids) - longest)


def make_batch(
    ids: np.ndarray, faces: np.ndarray, mel: np.ndarray, tokens: int, window: Capacity, labels: int
) -> Batch:
    """Returns a batch of one utterance, for a model with a number of `labels`.

    It has token ids, int32 `[t]`, padded to `tokens`; and face crops, uint8 `[f, 48, 48, 3]`, and mel power, float32
    `[c, 128, 32]`, padded to the capacity of a `window`, which is doubled where it is too small.
    """
    capacity = window.fitting(len(faces), len(mel))

    def padded(values: np.ndarray, length: int) -> np.ndarray:
        return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])[None]

    def count(values: np.ndarray) -> np.ndarray:
        return np.array([[len(values)]], np.int32)

    return Batch(
        token_ids=padded(ids, tokens)[None],
        token_count=count(ids),
        faces=padded(faces.reshape(-1, FACE_SIZE, FACE_SIZE, 3), capacity.frames),
        frame_count=count(faces),
        mel=padded(mel.reshape(-1, MEL_BANDS, CHUNK_FRAMES), capacity.chunks),
        chunk_count=count(mel),
        labels=np.zeros((1, 1, labels), np.float32),
        example=np.zeros((1, 1), np.int32),
    )

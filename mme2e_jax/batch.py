"""The batch that models read.

Axis legend: `g` device groups, `b` utterances per group, `t` tokens, `f` packed frames, `c` packed mel chunks,
`n` rows of one modality's features, `d` their width, `l` labels. The frames of a group's utterances lie end to end in
one axis of fixed capacity; so do the chunks. Rows of features lie apart, each utterance's padded to one length.
Everything behind the last real frame, chunk or row is padding and never changes a result.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

# Mel power below which a whole sound is silent: less than that of noise of one step of 16-bit sound.
SILENCE_POWER = 1e-7

ArrayLike = Any  # numpy arrays while a batch is packed, jax arrays on the devices


class Batch(NamedTuple):
    """One step's utterances, `g * b` of them, grouped by device: text, faces and sound."""

    token_ids: ArrayLike  # int32 [g, b, t]
    token_count: ArrayLike  # int32 [g, b]
    faces: ArrayLike  # uint8 [g, f, 48, 48, 3], RGB
    frame_count: ArrayLike  # int32 [g, b]
    mel: ArrayLike  # float32 [g, c, 128, 32], power
    chunk_count: ArrayLike  # int32 [g, b]
    labels: ArrayLike  # float32 [g, b, l]
    example: ArrayLike  # int32 [g, b], the utterance's index in its split, -1 for a padding row


class FeatureBatch(NamedTuple):
    """One step's utterances, `g * b` of them, grouped by device: rows of hand-crafted features."""

    text: ArrayLike  # float32 [g, b, n, d]
    text_count: ArrayLike  # int32 [g, b]
    audio: ArrayLike  # as text, with a length and a width of its own
    audio_count: ArrayLike
    video: ArrayLike
    video_count: ArrayLike
    labels: ArrayLike  # as in Batch
    example: ArrayLike


AnyBatch = Batch | FeatureBatch


def present_media(
    faces: UInt8[np.ndarray, "f 48 48 3"], face_found: Bool[np.ndarray, "f"], mel: Float[np.ndarray, "c 128 32"]
) -> tuple[UInt8[np.ndarray, "x 48 48 3"], Float[np.ndarray, "y 128 32"]]:
    """An utterance's crops that show a face, and all its mel chunks; or no chunks if all of them are silent."""
    return faces[face_found], mel if mel.max(initial=0.0) >= SILENCE_POWER else mel[:0]


class Segments(NamedTuple):
    """The utterance of each item of a packed axis."""

    segment: Int[Array, "g n"]  # row of the utterance in its group, b for padding
    position: Int[Array, "g n"]  # position within the utterance, from 0
    valid: Bool[Array, "g n"]  # False for padding


def segments(count: Int[Array, "g b"], capacity: int) -> Segments:
    """Segments of a packed axis of length `capacity` that holds `count` items of each utterance, end to end."""
    ends = jnp.cumsum(count, axis=1)
    item = jnp.arange(capacity)
    segment = jnp.sum(item[None, :, None] >= ends[:, None, :], axis=-1)
    starts = jnp.pad(ends, ((0, 0), (1, 0)))
    position = item[None] - jnp.take_along_axis(starts, segment, axis=1)
    return Segments(segment, position, segment < count.shape[1])

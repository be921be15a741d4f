"""Records to batches, as TensorFlow operations: packed end to end, or padded row by row.

Axis legend: `g` device groups, `b` utterances per group, `u` all `g * b` of them, `t` tokens, `f` packed frames, `c`
packed mel chunks, `n` rows of one modality's features, `d` their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from mme2e_jax.batch import Batch, FeatureBatch
from mme2e_jax.conventions import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data import plan as planning
from mme2e_jax.data.plan import Layout

# Tensors, of which pyright knows too little.
Tensor = Any


class Records(NamedTuple):
    """What a planned batch is made of."""

    serialized: Tensor  # string [u], b"" for a padding row
    example: Tensor  # int32 [g, b]
    tokens: Tensor  # int32 [u], as stored
    frames: Tensor  # int32 [u]
    chunks: Tensor  # int32 [u]
    shape: Tensor  # int32 [3], a plan.Shape


@dataclass(frozen=True)
class MediaPacker:
    """Token ids row by row, faces and mel chunks end to end."""

    labels: int
    text_max_len: int  # tokens at which a transcript is cut
    sep: int  # id of [SEP]
    layout: ClassVar[Layout] = planning.MEDIA

    def __call__(self, records: Records) -> Batch:
        """The batch, of tensors."""
        parsed = _parse(records, ("token_ids", "faces", "mel", "label"))
        grid, shape = tf.shape(records.example), records.shape
        face, chunk = (FACE_SIZE, FACE_SIZE, 3), (MEL_BANDS, CHUNK_FRAMES)
        _check_length("token_ids", parsed, records.tokens, 4)
        _check_length("faces", parsed, records.frames, FACE_SIZE**2 * 3)
        _check_length("mel", parsed, records.chunks, MEL_BANDS * CHUNK_FRAMES * 4)

        def packed(name, dtype, capacity, item: Sequence[int]):
            # Joining the bytes of a group packs it; decoding to a fixed length pads it.
            joined = tf.strings.reduce_join(tf.reshape(parsed[name], grid), axis=1)
            return _decode(joined, dtype, grid[:1], [capacity, *item])

        kept = tf.minimum(records.tokens, self.text_max_len)
        ids = _decode(parsed["token_ids"], tf.int32, tf.shape(kept), [shape[0]])
        # A transcript that is cut still ends with [SEP], as the tokenizer's own truncation has it.
        cut = (tf.range(shape[0])[None] == kept[:, None] - 1) & (records.tokens > kept)[:, None]
        return Batch(
            token_ids=tf.reshape(tf.where(cut, self.sep, ids), tf.concat([grid, shape[:1]], 0)),
            token_count=tf.reshape(kept, grid),
            faces=packed("faces", tf.uint8, shape[1], face),
            frame_count=tf.reshape(records.frames, grid),
            mel=packed("mel", tf.float32, shape[2], chunk),
            chunk_count=tf.reshape(records.chunks, grid),
            labels=_decode(parsed["label"], tf.float32, grid, [self.labels]),
            example=records.example,
        )


@dataclass(frozen=True)
class FeaturePadder:
    """Rows of text, audio and video, each utterance's padded with zeros."""

    labels: int
    text_max_len: int  # rows at which a transcript is cut
    stored_sizes: Sequence[int]  # widths of text, audio and video as stored
    audio_columns: Sequence[int]  # of the stored audio, those that the batch holds
    layout: ClassVar[Layout] = planning.FEATURES

    def __call__(self, records: Records) -> FeatureBatch:
        """The batch, of tensors."""
        parsed = _parse(records, ("text", "audio", "video", "label"))
        grid, shape = tf.shape(records.example), records.shape

        def padded(name, count, length, size):
            _check_length(name, parsed, count, size * 4)
            return _decode(parsed[name], tf.float32, grid, [length, size])

        text, audio, video = self.stored_sizes
        return FeatureBatch(
            text=padded("text", records.tokens, shape[0], text),
            text_count=tf.reshape(tf.minimum(records.tokens, self.text_max_len), grid),
            audio=tf.gather(padded("audio", records.chunks, shape[2], audio), self.audio_columns, axis=-1),
            audio_count=tf.reshape(records.chunks, grid),
            video=padded("video", records.frames, shape[1], video),
            video_count=tf.reshape(records.frames, grid),
            labels=_decode(parsed["label"], tf.float32, grid, [self.labels]),
            example=records.example,
        )


Packer = MediaPacker | FeaturePadder


def _parse(records: Records, names: Sequence[str]) -> dict[str, Tensor]:
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value=b"") for name in names}
    return tf.io.parse_example(tf.reshape(records.serialized, [-1]), spec)


def _check_length(name: str, parsed: dict[str, Tensor], count: Tensor, item_bytes: int) -> None:
    # Frames that the plan does not know of would push those behind them to another utterance.
    message = f"The lengths of {name} in the records are not those in the dataset's metadata: prepare the data again."
    tf.debugging.assert_equal(tf.strings.length(parsed[name]), count * item_bytes, message)


def _decode(strings: Tensor, dtype: Any, outer: Tensor, inner: Sequence[Any]) -> Tensor:
    """Bytes of `inner` items for each of `outer` strings; what they lack is 0, what they exceed is cut."""
    size = tf.reduce_prod(inner) * dtype.size
    return tf.reshape(tf.io.decode_raw(strings, dtype, fixed_length=size), tf.concat([outer, inner], 0))

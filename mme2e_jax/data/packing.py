"""Records to batches: packed end to end, or padded row by row.

In numpy: each byte is copied twice then, out of its record and into its place. TensorFlow's operations (parse, join,
decode) copy it four times.

Axis legend: `g` device groups, `b` utterances per group, `t` tokens, `f` packed frames, `c` packed mel chunks, `n` rows
of one modality's features, `d` their width.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from mme2e_jax.batch import Batch, FeatureBatch
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data import plan as planning
from mme2e_jax.data.plan import Layout, Lengths, Shape


class BadRecord(Exception):
    """A record that does not hold what a batch needs."""

    def __init__(self, place: tuple[int, int], reason: str):
        """Args: place: of its row in the batch, `[g, b]`; reason: what was expected and what was found."""
        super().__init__(reason)
        self.place, self.reason = place, reason


class Records(NamedTuple):
    """What a planned batch is made of."""

    serialized: Sequence[bytes]  # of the rows that hold an utterance, in their order
    ids: Sequence[str]  # that the dataset's metadata gives them
    example: np.ndarray  # int32 [g, b], -1 for a padding row
    lengths: Lengths  # int32 [g, b] each, as stored, 0 for a padding row
    shape: Shape

    def rows(self) -> Iterator[tuple[tuple[int, int], "Values"]]:
        """Place and values of each utterance.

        Raises:
          BadRecord: if a record is none, or another utterance's.
        """
        places = np.argwhere(self.example >= 0).tolist()
        for (g, b), identity, serialized in zip(places, self.ids, self.serialized, strict=True):
            yield (g, b), Values((g, b), identity, serialized)


class Values:
    """The arrays of one record; everything is checked that a batch would be spoilt by."""

    def __init__(self, place: tuple[int, int], identity: str, serialized: bytes):
        """Args: place: of the row; identity: the utterance that is expected; serialized: a `tf.train.Example`."""
        self._place = place
        try:
            self._features: Any = tf.train.Example.FromString(serialized).features.feature
        except DecodeError as error:
            raise BadRecord(place, f"expected a tf.train.Example, found {len(serialized)} other bytes") from error
        found = self.text("utterance_id")
        if found != identity:
            raise BadRecord(place, f"it holds another utterance, {found[:80]!r}")

    def array(self, name: str, dtype: Any, shape: Sequence[int]) -> np.ndarray:
        """A feature's array of finite numbers; read only.

        Raises:
          BadRecord: if the record holds more or less, or numbers that are not finite. Frames that the plan does not
            know of would push those behind them to another utterance.
        """
        stored, dtype = self._bytes(name), np.dtype(dtype)
        if len(stored) != math.prod(shape) * dtype.itemsize:
            raise self._refusal(f"expected {name} as {dtype} {list(map(int, shape))}, found {len(stored)} bytes")
        values = np.frombuffer(stored, dtype).reshape(shape)
        # Half the time of isfinite().all(); a NaN is neither above nor below anything.
        if dtype.kind == "f" and not (values.min(initial=0) > -np.inf and values.max(initial=0) < np.inf):
            raise self._refusal(f"{name} holds {np.sum(~np.isfinite(values))} numbers that are NaN or infinite")
        return values

    def text(self, name: str) -> str:
        """A feature that is text.

        Raises:
          BadRecord: if the record has none of that name.
        """
        return self._bytes(name).decode(errors="replace")

    def tokens(self, count: int, vocabulary: int) -> np.ndarray:
        """The token ids, int32 [count].

        Raises:
          BadRecord: as `array`, or if one is not in the vocabulary: an embedding would be looked up beyond its end.
        """
        ids = self.array("token_ids", np.int32, [count])
        if count and (ids.min() < 0 or ids.max() >= vocabulary):
            raise self._refusal(f"expected token_ids from 0 to {vocabulary - 1}, found {ids.min()} to {ids.max()}")
        return ids

    def label(self, count: int) -> np.ndarray:
        """The labels, float32 [count].

        Raises:
          BadRecord: as `array`, or if one is neither 0 nor 1.
        """
        label = self.array("label", np.float32, [count])
        if not ((label == 0) | (label == 1)).all():
            raise self._refusal(f"expected labels 0 and 1, found {label.tolist()}")
        return label

    def _bytes(self, name: str) -> bytes:
        # Asked for a feature that is not there, protobuf would make an empty one.
        stored = self._features[name].bytes_list.value if name in self._features else ()
        if len(stored) != 1:
            raise self._refusal(f"expected {name} as one value of bytes, found {len(stored)}")
        return stored[0]

    def _refusal(self, reason: str) -> BadRecord:
        return BadRecord(self._place, reason)


@dataclass(frozen=True)
class MediaPacker:
    """Token ids row by row, faces and mel chunks end to end."""

    labels: int
    text_max_len: int  # tokens at which a transcript is cut
    sep: int  # id of [SEP]
    vocabulary: int  # token ids that there are
    layout: ClassVar[Layout] = planning.MEDIA
    dtypes: ClassVar[Batch] = Batch(
        token_ids=np.int32,
        token_count=np.int32,
        faces=np.uint8,
        frame_count=np.int32,
        mel=np.float32,
        chunk_count=np.int32,
        labels=np.float32,
        example=np.int32,
    )

    def __call__(self, records: Records) -> Batch:
        """The batch.

        Raises:
          BadRecord: if a record does not hold what it should.
        """
        (g, b), shape, lengths = records.example.shape, records.shape, records.lengths
        face, chunk = (FACE_SIZE, FACE_SIZE, 3), (MEL_BANDS, CHUNK_FRAMES)
        kept = np.minimum(lengths.tokens, self.text_max_len)
        batch = Batch(
            token_ids=np.zeros((g, b, shape.tokens), np.int32),
            token_count=kept,
            faces=np.zeros((g, shape.frames, *face), np.uint8),
            frame_count=lengths.frames,
            mel=np.zeros((g, shape.chunks, *chunk), np.float32),
            chunk_count=lengths.chunks,
            labels=np.zeros((g, b, self.labels), np.float32),
            example=records.example,
        )
        frame_ends, chunk_ends = np.cumsum(lengths.frames, axis=1), np.cumsum(lengths.chunks, axis=1)
        for place, values in records.rows():
            group, tokens = place[0], kept[place]
            batch.token_ids[place][:tokens] = values.tokens(lengths.tokens[place], self.vocabulary)[:tokens]
            if lengths.tokens[place] > tokens:
                # A transcript that is cut still ends with [SEP], as the tokenizer's own truncation has it.
                batch.token_ids[place][tokens - 1] = self.sep
            faces = values.array("faces", np.uint8, [lengths.frames[place], *face])
            batch.faces[group, frame_ends[place] - len(faces) : frame_ends[place]] = faces
            mel = values.array("mel", np.float32, [lengths.chunks[place], *chunk])
            batch.mel[group, chunk_ends[place] - len(mel) : chunk_ends[place]] = mel
            batch.labels[place] = values.label(self.labels)
        return batch


@dataclass(frozen=True)
class FeaturePadder:
    """Rows of text, audio and video, each utterance's padded with zeros."""

    labels: int
    text_max_len: int  # rows at which a transcript is cut
    stored_sizes: Sequence[int]  # widths of text, audio and video as stored
    audio_columns: Sequence[int]  # of the stored audio, those that the batch holds
    layout: ClassVar[Layout] = planning.FEATURES
    dtypes: ClassVar[FeatureBatch] = FeatureBatch(
        text=np.float32,
        text_count=np.int32,
        audio=np.float32,
        audio_count=np.int32,
        video=np.float32,
        video_count=np.int32,
        labels=np.float32,
        example=np.int32,
    )

    def __call__(self, records: Records) -> FeatureBatch:
        """The batch.

        Raises:
          BadRecord: if a record does not hold what it should.
        """
        grid, shape, lengths = records.example.shape, records.shape, records.lengths
        text_size, audio_size, video_size = self.stored_sizes
        kept, columns = np.minimum(lengths.tokens, self.text_max_len), list(self.audio_columns)
        batch = FeatureBatch(
            text=np.zeros((*grid, shape.tokens, text_size), np.float32),
            text_count=kept,
            audio=np.zeros((*grid, shape.chunks, len(columns)), np.float32),
            audio_count=lengths.chunks,
            video=np.zeros((*grid, shape.frames, video_size), np.float32),
            video_count=lengths.frames,
            labels=np.zeros((*grid, self.labels), np.float32),
            example=records.example,
        )
        for place, values in records.rows():
            words, chunks, frames = lengths.tokens[place], lengths.chunks[place], lengths.frames[place]
            text = values.array("text", np.float32, [words, text_size])
            batch.text[place][: kept[place]] = text[: kept[place]]
            batch.audio[place][:chunks] = values.array("audio", np.float32, [chunks, audio_size])[:, columns]
            batch.video[place][:frames] = values.array("video", np.float32, [frames, video_size])
            batch.labels[place] = values.label(self.labels)
        return batch


Packer = MediaPacker | FeaturePadder

"""Builds batches from records, packed end to end or padded by row.

In numpy, which copies each byte once; TensorFlow's operations (parse, join, decode) copy it four times.

Axis legend: `g` device groups, `b` utterances per group, `t` tokens, `f` packed frames, `c` packed mel chunks, `n` rows
of one modality's features, `d` their width.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mme2e_jax.batch import Batch, FeatureBatch, present_media
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data import plan as planning
from mme2e_jax.data.example_proto import byte_values
from mme2e_jax.data.plan import Layout, Lengths, Shape


class BadRecord(Exception):
    """A record that cannot be used in a batch."""

    def __init__(self, row: tuple[int, int], reason: str):
        """Args: row: group and row in the batch; reason: what was expected and found."""
        super().__init__(reason)
        self.row, self.reason = row, reason


class Records(NamedTuple):
    """The records of a planned batch."""

    serialized: Sequence[bytes]  # one per utterance, in the order of the rows
    ids: Sequence[str]  # utterance ids by the dataset's metadata
    example: np.ndarray  # int32 [g, b], -1 for a padding row
    lengths: Lengths  # int32 [g, b] each, as stored, 0 for a padding row
    shape: Shape

    def rows(self) -> Iterator[tuple[tuple[int, int], "RecordValues"]]:
        """Group and row of each utterance, and its values; raises `BadRecord` for a damaged or foreign record."""
        rows = np.argwhere(self.example >= 0).tolist()
        for (g, b), utterance_id, serialized in zip(rows, self.ids, self.serialized, strict=True):
            yield (g, b), RecordValues((g, b), utterance_id, serialized)


class RecordValues:
    """The checked values of one record; all methods raise `BadRecord` for unusable ones."""

    def __init__(self, row: tuple[int, int], utterance_id: str, serialized: bytes):
        """Args: row: group and row in the batch; utterance_id: expected id; serialized: a `tf.train.Example`."""
        self._row = row
        try:
            self._values = byte_values(serialized)
        except ValueError as error:
            raise BadRecord(row, str(error)) from error
        found = self.text("utterance_id")
        if found != utterance_id:
            raise BadRecord(row, f"it holds another utterance, {found[:80]!r}")

    def array(self, name: str, dtype: Any, shape: Sequence[int]) -> np.ndarray:
        """A feature's array, read-only; its size must be exact and its numbers finite."""
        stored, dtype = self._bytes(name), np.dtype(dtype)
        # Frames beyond the planned number would shift those of the next utterances.
        if len(stored) != math.prod(shape) * dtype.itemsize:
            raise BadRecord(self._row, f"expected {name} as {dtype} {list(map(int, shape))}, found {len(stored)} bytes")
        values = np.frombuffer(stored, dtype).reshape(shape)
        # Half the time of isfinite().all(); comparisons with NaN are false.
        if dtype.kind == "f" and not (values.min(initial=0) > -np.inf and values.max(initial=0) < np.inf):
            raise BadRecord(self._row, f"{name} holds {np.sum(~np.isfinite(values))} numbers that are NaN or infinite")
        return values

    def text(self, name: str) -> str:
        """A text feature."""
        return str(self._bytes(name), errors="replace")

    def tokens(self, count: int, vocabulary: int) -> np.ndarray:
        """The token ids, int32 `[count]`; they must be in the vocabulary, which indexes the embedding."""
        ids = self.array("token_ids", np.int32, [count])
        if count and (ids.min() < 0 or ids.max() >= vocabulary):
            raise BadRecord(
                self._row, f"expected token_ids from 0 to {vocabulary - 1}, found {ids.min()} to {ids.max()}"
            )
        return ids

    def label(self, count: int) -> np.ndarray:
        """The labels, float32 `[count]`; they must be 0 or 1."""
        label = self.array("label", np.float32, [count])
        if not ((label == 0) | (label == 1)).all():
            raise BadRecord(self._row, f"expected labels 0 and 1, found {label.tolist()}")
        return label

    def _bytes(self, name: str) -> bytes | memoryview:
        stored = self._values.get(name, ())
        if len(stored) != 1:
            raise BadRecord(self._row, f"expected {name} as one value of bytes, found {len(stored)}")
        return stored[0]


@dataclass(frozen=True)
class MediaPacker:
    """Pads token ids per utterance, packs faces and mel chunks end to end."""

    labels: int
    text_max_len: int  # maximum number of tokens
    sep: int  # id of [SEP]
    vocabulary: int  # number of token ids
    mask_absent: bool = False  # leave out frames without a face, and silent sound
    layout: ClassVar[Layout] = planning.MEDIA

    def __call__(self, records: Records) -> Batch:
        """Builds the batch, or raises `BadRecord`."""
        (g, b), shape, lengths = records.example.shape, records.shape, records.lengths
        face, chunk = (FACE_SIZE, FACE_SIZE, 3), (MEL_BANDS, CHUNK_FRAMES)
        kept = np.minimum(lengths.tokens, self.text_max_len)
        batch = Batch(
            token_ids=np.zeros((g, b, shape.tokens), np.int32),
            token_count=kept,
            faces=np.zeros((g, shape.frames, *face), np.uint8),
            frame_count=np.zeros((g, b), np.int32),
            mel=np.zeros((g, shape.chunks, *chunk), np.float32),
            chunk_count=np.zeros((g, b), np.int32),
            labels=np.zeros((g, b, self.labels), np.float32),
            example=records.example,
        )
        for row, values in records.rows():
            group, tokens = row[0], kept[row]
            batch.token_ids[row][:tokens] = values.tokens(lengths.tokens[row], self.vocabulary)[:tokens]
            if lengths.tokens[row] > tokens:
                # The tokenizer's own truncation keeps [SEP] at the end too.
                batch.token_ids[row][tokens - 1] = self.sep
            faces = values.array("faces", np.uint8, [lengths.frames[row], *face])
            mel = values.array("mel", np.float32, [lengths.chunks[row], *chunk])
            if self.mask_absent:
                faces, mel = present_media(faces, values.array("face_found", bool, [len(faces)]), mel)
            for packed, counts, items in (
                (batch.faces, batch.frame_count, faces),
                (batch.mel, batch.chunk_count, mel),
            ):
                start = int(counts[group].sum())
                packed[group, start : start + len(items)] = items
                counts[row] = len(items)
            batch.labels[row] = values.label(self.labels)
        return batch


@dataclass(frozen=True)
class FeaturePadder:
    """Pads each utterance's rows of text, audio and video with zeros."""

    labels: int
    text_max_len: int  # maximum number of text rows
    stored_sizes: Sequence[int]  # widths of text, audio and video as stored
    audio_columns: Sequence[int]  # columns of the stored audio that the batch holds
    layout: ClassVar[Layout] = planning.FEATURES

    def __call__(self, records: Records) -> FeatureBatch:
        """Builds the batch, or raises `BadRecord`."""
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
        for row, values in records.rows():
            words, chunks, frames = lengths.tokens[row], lengths.chunks[row], lengths.frames[row]
            batch.text[row][: kept[row]] = values.array("text", np.float32, [words, text_size])[: kept[row]]
            batch.audio[row][:chunks] = values.array("audio", np.float32, [chunks, audio_size])[:, columns]
            batch.video[row][:frames] = values.array("video", np.float32, [frames, video_size])
            batch.labels[row] = values.label(self.labels)
        return batch


Packer = MediaPacker | FeaturePadder

"""Executes a plan with tf.data: reads records, packs them, and stays a few batches ahead of the devices.

Axis legend: `g` device groups, `b` utterances per group, `t` tokens, `f` packed frames, `c` packed mel chunks.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from array_record.python.array_record_data_source import ArrayRecordDataSource

from mme2e_jax.batch import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS, Batch
from mme2e_jax.data import plan as planning
from mme2e_jax.data.dataset import Dataset, Split
from mme2e_jax.data.plan import PlannedBatch, Shape

PREFETCH = 2
_ARRAYS = ("token_ids", "faces", "mel", "label")


class Input:
    """All batches of a run: those of training by step number, those of an evaluation by split.

    The state of the input is the step number: there is nothing else to save, and any step can be asked for.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        text_max_len: int,
        seed: int,
        epochs: int,
        max_shapes: int,
        groups: int,
        local_groups: slice = slice(None),
    ):
        """Plans the run.

        Args:
          dataset: prepared records.
          batch_size: utterances per step over all devices.
          text_max_len: tokens at which a transcript is cut.
          seed: of the order.
          epochs: of training; 0 plans evaluation alone.
          max_shapes: shapes that the run's batches, or a sample of them, are fitted to; a last resort for any other
            batch comes on top.
          groups: devices over all processes.
          local_groups: those of this process.

        Raises:
          UserError: if a split that the run needs is missing or empty.
        """
        self.dataset = dataset
        self.batch_size, self.rows, self.groups = batch_size, batch_size // groups, groups
        self.text_max_len, self.seed, self.epochs = text_max_len, seed, epochs
        self._local = local_groups
        # The last epoch asked for, grouped: neighbouring steps ask for the same one.
        self._epoch = functools.lru_cache(maxsize=2)(self._grouped_epoch)
        self.ladder = self._fit_ladder(max_shapes)

    @property
    def steps_per_epoch(self) -> int:
        return planning.steps_per_epoch(len(self.dataset.split("train")), self.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def planned(self, step: int) -> PlannedBatch:
        """What training step `step` (from 0) works on."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._shaped(self._epoch(epoch)[index], self.dataset.split("train"))

    def training(self, start: int) -> Iterator[Batch]:
        """The batches of training from step `start` to the end."""
        return self._run(self.dataset.split("train"), self.planned, start, self.total_steps)

    def utterance_ids(self, step: int) -> list[str]:
        """The utterances of a training step, for messages: reads their records."""
        split, examples = self.dataset.split("train"), self.planned(step).examples
        source = ArrayRecordDataSource(list(split.files))
        raw = source.__getitems__([int(i) for i in examples.reshape(-1) if i >= 0])
        parsed = tf.io.parse_example(raw, {"utterance_id": tf.io.FixedLenFeature([], tf.string)})
        return [name.decode() for name in parsed["utterance_id"].numpy()]

    def evaluation(self, split: str) -> Iterator[Batch]:
        """A split once, every utterance exactly once."""
        records = self.dataset.split(split)
        batches = self._evaluation(split)
        return self._run(records, lambda i: self._shaped(batches[i], records), 0, len(batches))

    def _evaluation(self, split: str) -> list[np.ndarray]:
        records = self.dataset.split(split)
        batches = planning.evaluation_batches(records.lengths, self.batch_size)
        return [planning.group(b, records.lengths, self.groups, self.batch_size) for b in batches]

    def _grouped_epoch(self, epoch: int) -> list[np.ndarray]:
        lengths = self.dataset.split("train").lengths
        batches = planning.training_batches(lengths, self.batch_size, self.text_max_len, self.seed, epoch)
        return [planning.group(b, lengths, self.groups, self.batch_size) for b in batches]

    def _shaped(self, examples: np.ndarray, split: Split) -> PlannedBatch:
        wanted = planning.need(examples, split.lengths, self.text_max_len)
        return PlannedBatch(examples, planning.choose(self.ladder, wanted, self.rows))

    def _fit_ladder(self, max_shapes: int) -> tuple[Shape, ...]:
        splits = [self.dataset.split(name) for name in ["train"] * bool(self.epochs) + ["valid", "test"]]
        needs = []
        for split in splits:
            grouped = self._evaluation(split.name) if split.name != "train" else self._sampled_training()
            needs += [planning.need(g, split.lengths, self.text_max_len) for g in grouped]
        ladder = planning.fit_ladder(needs, max_shapes, self.rows)
        # Compiled only if a batch beyond the sample asks for it.
        bounds = [planning.largest_shape(s.lengths, self.rows, self.text_max_len) for s in splits]
        return (*ladder, Shape(*(max(sizes) for sizes in zip(*bounds, strict=True))))

    def _sampled_training(self) -> list[np.ndarray]:
        epochs = min(self.epochs, max(1, planning.SAMPLED_BATCHES // self.steps_per_epoch))
        return [g for e in range(epochs) for g in self._grouped_epoch(e)]

    def _run(self, split: Split, planned: Callable[[int], PlannedBatch], start: int, stop: int) -> Iterator[Batch]:
        source = ArrayRecordDataSource(list(split.files))
        sep = int(self.dataset.tokenizer["sep_id"])

        def read(step):
            examples, shape = planned(int(step))
            examples = examples[self._local]
            flat = examples.reshape(-1)
            records = iter(source.__getitems__([int(i) for i in flat[flat >= 0]]))
            raw = np.array([next(records) if i >= 0 else b"" for i in flat], object)
            tokens, frames, chunks = (np.where(flat >= 0, v[flat], 0).astype(np.int32) for v in split.lengths)
            return (
                raw,
                examples,
                np.minimum(tokens, self.text_max_len),
                tokens,
                frames,
                chunks,
                np.array(shape, np.int32),
            )

        def load(step):
            types = [tf.string, *[tf.int32] * 6]
            raw, example, kept, tokens, frames, chunks, shape = tf.numpy_function(read, [step], types)
            return _pack(raw, example, kept, tokens, frames, chunks, shape, len(self.dataset.label_names), sep)

        steps = tf.data.Dataset.range(start, stop)
        batches = steps.map(load, num_parallel_calls=2, deterministic=True).prefetch(PREFETCH)
        return (Batch(*arrays) for arrays in batches.as_numpy_iterator())


def _pack(raw, example, kept, tokens, frames, chunks, shape, labels: int, sep: int) -> Batch:
    """Serialised examples, [g * b] of them (b"" for padding rows), to one packed batch."""
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value=b"") for name in _ARRAYS}
    parsed: Any = tf.io.parse_example(tf.reshape(raw, [-1]), spec)
    grid = tf.shape(example)
    g = grid[0]
    # Frames that the plan does not know of would push those behind them to another utterance.
    planned = (
        ("token_ids", tokens, 4),
        ("faces", frames, FACE_SIZE**2 * 3),
        ("mel", chunks, MEL_BANDS * CHUNK_FRAMES * 4),
    )
    for name, count, size in planned:
        message = (
            f"The lengths of {name} in the records are not those in the dataset's metadata: prepare the data again."
        )
        tf.debugging.assert_equal(tf.strings.length(parsed[name]), count * size, message)

    def rows(name, dtype, length):
        return tf.io.decode_raw(parsed[name], dtype, fixed_length=length * dtype.size)

    def packed(name, dtype, capacity, item: Sequence[int]):
        # Joining the bytes of a group packs it; decoding to a fixed length pads it.
        joined = tf.strings.reduce_join(tf.reshape(parsed[name], grid), axis=1)
        size = capacity * int(np.prod(item)) * dtype.size
        return tf.reshape(tf.io.decode_raw(joined, dtype, fixed_length=size), [g, capacity, *item])

    ids = rows("token_ids", tf.int32, shape[0])
    # A transcript that is cut still ends with [SEP], as the tokenizer's own truncation has it.
    cut = (tf.range(shape[0])[None] == kept[:, None] - 1) & (tokens > kept)[:, None]
    ids = tf.where(cut, sep, ids)
    return Batch(
        token_ids=tf.reshape(ids, tf.concat([grid, shape[:1]], 0)),
        token_count=tf.reshape(kept, grid),
        faces=packed("faces", tf.uint8, shape[1], (FACE_SIZE, FACE_SIZE, 3)),
        frame_count=tf.reshape(frames, grid),
        mel=packed("mel", tf.float32, shape[2], (MEL_BANDS, CHUNK_FRAMES)),
        chunk_count=tf.reshape(chunks, grid),
        labels=tf.reshape(rows("label", tf.float32, labels), tf.concat([grid, [labels]], 0)),
        example=example,
    )

"""Executes a plan with tf.data: reads records, packs them, and stays a few batches ahead of the devices.

Axis legend: `g` device groups, `b` utterances per group.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mme2e_jax.data import plan as planning
from mme2e_jax.data.dataset import Dataset, Split
from mme2e_jax.data.packing import BadRecord, FeaturePadder, MediaPacker, Packer, Records
from mme2e_jax.data.plan import Lengths, PlannedBatch, Shape
from mme2e_jax.data.reader import Reader
from mme2e_jax.data.skipped import Skipped

PREFETCH = 2


class BatchLoader:
    """All batches of a run: those of training by step number, those of an evaluation by split.

    They are of numpy arrays: a `Batch` each where the records are media, a `FeatureBatch` where they are features.
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
        audio_columns: Sequence[int] = (),
        skip_bad: int = 0,
        tell: Callable[[str], object] = print,
    ):
        """Plans the run.

        Args:
          dataset: prepared records.
          batch_size: utterances per step over all devices.
          text_max_len: tokens, or rows of text features, at which a transcript is cut.
          seed: of the order.
          epochs: of training; 0 plans evaluation alone.
          max_shapes: shapes that the run's batches, or a sample of them, are fitted to; a last resort for any other
            batch comes on top.
          groups: devices over all processes.
          local_groups: those of this process.
          audio_columns: of feature records: the columns of the stored audio that batches hold; none for all.
          skip_bad: utterances that may be left out, in all, because their records are of no use; their rows are
            padding. Batches raise a `UserError` at the next one.
          tell: shows a line to the user, one for each utterance that is left out.

        Raises:
          UserError: if a split that the run needs is missing or empty.
        """
        self.dataset = dataset
        self.batch_size, self.rows, self.groups = batch_size, batch_size // groups, groups
        self.text_max_len, self.seed, self.epochs = text_max_len, seed, epochs
        self._local = local_groups
        self.skipped = Skipped(skip_bad, tell)
        self._readers: dict[str, Reader] = {}
        self._packer = _packer(dataset, text_max_len, audio_columns)
        self._layout = self._packer.layout
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

    def training(self, start: int) -> Iterator[Any]:
        """The batches of training from step `start` to the end."""
        return self._run(self.dataset.split("train"), self.planned, start, self.total_steps)

    def utterance_ids(self, step: int) -> list[str]:
        """The utterances of a training step, for messages."""
        ids = self.dataset.split("train").ids
        return [ids[i] for i in self.planned(step).examples.reshape(-1) if i >= 0]

    def evaluation(self, split: str) -> Iterator[Any]:
        """The batches of a split, every utterance exactly once."""
        records, batches = self.dataset.split(split), self._evaluation(split)
        return self._run(records, lambda i: self._shaped(batches[i], records), 0, len(batches))

    def seen_lengths(self, split: str) -> Lengths:
        """Lengths of a split's utterances as batches hold them, in stored order; those that were left out are not."""
        lengths, bad = self.dataset.split(split).lengths, list(self.skipped.examples(split))
        kept = Lengths(*(np.delete(values, bad) for values in lengths))
        return kept._replace(tokens=np.minimum(kept.tokens, self.text_max_len))

    def _evaluation(self, split: str) -> list[np.ndarray]:
        records = self.dataset.split(split)
        batches = planning.evaluation_batches(records.lengths, self.batch_size, self._layout)
        return [self._grouped(b, records) for b in batches]

    def _grouped_epoch(self, epoch: int) -> list[np.ndarray]:
        records = self.dataset.split("train")
        batches = planning.training_batches(records.lengths, self.batch_size, self.text_max_len, self.seed, epoch)
        return [self._grouped(b, records) for b in batches]

    def _grouped(self, batch: np.ndarray, split: Split) -> np.ndarray:
        return planning.group(batch, split.lengths, self.groups, self.batch_size, self._layout)

    def _need(self, examples: np.ndarray, split: Split) -> Shape:
        return planning.need(examples, split.lengths, self.text_max_len, self._layout)

    def _shaped(self, examples: np.ndarray, split: Split) -> PlannedBatch:
        wanted = self._need(examples, split)
        return PlannedBatch(examples, planning.choose(self.ladder, wanted, self.rows, self._layout))

    def _fit_ladder(self, max_shapes: int) -> tuple[Shape, ...]:
        splits = [self.dataset.split(name) for name in ["train"] * bool(self.epochs) + ["valid", "test"]]
        needs = []
        for split in splits:
            grouped = self._evaluation(split.name) if split.name != "train" else self._sampled_training()
            needs += [self._need(g, split) for g in grouped]
        ladder = planning.fit_ladder(needs, max_shapes, self.rows, self._layout)
        # Compiled only if a batch beyond the sample asks for it.
        bounds = [planning.largest_shape(s.lengths, self.rows, self.text_max_len, self._layout) for s in splits]
        return (*ladder, Shape(*(max(sizes) for sizes in zip(*bounds, strict=True))))

    def _sampled_training(self) -> list[np.ndarray]:
        epochs = min(self.epochs, max(1, planning.SAMPLED_BATCHES // self.steps_per_epoch))
        return [g for e in range(epochs) for g in self._grouped_epoch(e)]

    def _run(self, split: Split, planned: Callable[[int], PlannedBatch], start: int, stop: int) -> Iterator[Any]:
        # What is wrong with records, by step and index in the split: nothing is raised where TensorFlow would wrap it.
        found: dict[int, dict[int, str]] = {}

        def load(step):
            step_plan = planned(int(step))
            batch, found[int(step)] = self._packed(split, step_plan.examples[self._local], step_plan.shape)
            return tuple(batch)

        dtypes = self._packer.dtypes

        def batch(step):
            return type(dtypes)(*tf.numpy_function(load, [step], [tf.as_dtype(d) for d in dtypes]))

        steps = tf.data.Dataset.range(start, stop)
        batches: Any = steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(PREFETCH)
        return self._told(split, found, range(start, stop), batches.as_numpy_iterator())

    def _told(
        self, split: Split, found: dict[int, dict[int, str]], steps: range, batches: Iterator[Any]
    ) -> Iterator[Any]:
        """The batches, once what is bad in them is told. In the order of steps, whichever was loaded first."""
        for step, batch in zip(steps, batches, strict=True):
            for example, reason in sorted(found.pop(step).items()):
                self.skipped.add(split, example, reason)
            yield batch

    def _packed(self, split: Split, examples: np.ndarray, shape: Shape) -> tuple[Any, dict[int, str]]:
        """A batch without the utterances that are of no use, and what is wrong with them, by index in the split."""
        examples = _without(examples, self.skipped.examples(split.name))
        serialized, problems = self._reader(split).read(examples[examples >= 0].tolist())
        while True:
            examples = _without(examples, problems)
            real = examples >= 0
            kept = examples[real].tolist()
            lengths = Lengths(*(np.where(real, values[examples], 0).astype(np.int32) for values in split.lengths))
            try:
                records = Records([serialized[i] for i in kept], [split.ids[i] for i in kept], examples, lengths, shape)
                return self._packer(records), problems
            except BadRecord as bad:
                problems[int(examples[bad.place])] = bad.reason

    def _reader(self, split: Split) -> Reader:
        # Two threads may make two; either will do.
        if split.name not in self._readers:
            self._readers[split.name] = Reader(split.files)
        return self._readers[split.name]


def _without(examples: np.ndarray, bad: Collection[int]) -> np.ndarray:
    return np.where(np.isin(examples, list(bad)), np.int32(-1), examples) if bad else examples


def _packer(dataset: Dataset, text_max_len: int, audio_columns: Sequence[int]) -> Packer:
    labels = len(dataset.label_names)
    if dataset.kind == "media":
        tokenizer = dataset.tokenizer
        return MediaPacker(labels, text_max_len, sep=int(tokenizer["sep_id"]), vocabulary=int(tokenizer["vocab_size"]))
    columns = audio_columns or range(dataset.feature_sizes[1])
    return FeaturePadder(labels, text_max_len, dataset.feature_sizes, tuple(columns))

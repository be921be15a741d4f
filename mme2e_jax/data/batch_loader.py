"""Loads planned batches with tf.data, a few batches ahead of the devices."""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mme2e_jax.data import plan as planning
from mme2e_jax.data.dataset import Dataset, Split
from mme2e_jax.data.packing import BadRecord, FeaturePadder, MediaPacker, Packer, Records
from mme2e_jax.data.plan import Lengths, PlannedBatch, Shape
from mme2e_jax.data.reader import RecordReader
from mme2e_jax.data.skipped import SkippedUtterances

PREFETCH = 2


class BatchLoader:
    """The batches of a run, `Batch` or `FeatureBatch` of numpy arrays: training from any step, evaluation by split."""

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
        mask_absent: bool = False,
        log: Callable[[str], object] = print,
    ):
        """Plans the run; raises `UserError` if a split that it needs is missing or empty.

        Args:
          batch_size: utterances per step over all devices.
          text_max_len: maximum number of tokens, or of rows of text features.
          seed: seed of the order.
          epochs: number of training epochs; 0 for evaluation only.
          max_shapes: number of shapes fitted to the run's batches or a sample of them; one more holds any other batch.
          groups: number of devices over all processes.
          local_groups: device groups of this process.
          audio_columns: for feature records, the columns of the stored audio that batches hold; empty for all.
          skip_bad: number of utterances with unusable records that may be left out; one more raises a `UserError`.
          mask_absent: whether frames without a face and silent sound are left out of media batches.
          log: called with a line for each utterance that is left out.
        """
        self.dataset = dataset
        self.batch_size, self.rows, self.groups = batch_size, batch_size // groups, groups
        self.text_max_len, self.seed, self.epochs = text_max_len, seed, epochs
        self._local = local_groups
        self.skipped = SkippedUtterances(skip_bad, log)
        self._readers: dict[str, RecordReader] = {}
        self._packer = _packer(dataset, text_max_len, audio_columns, mask_absent)
        self._layout = self._packer.layout
        # Neighbouring steps belong to the same epoch.
        self._epoch = functools.lru_cache(maxsize=2)(self._grouped_epoch)
        self.ladder = self._fit_ladder(max_shapes)
        self.evaluation_shapes = functools.cache(self._evaluation_shapes)

    @property
    def steps_per_epoch(self) -> int:
        return planning.steps_per_epoch(len(self.dataset.split("train")), self.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def planned(self, step: int) -> PlannedBatch:
        """The plan of training step `step`, from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._shaped(self._epoch(epoch)[index], self.dataset.split("train"))

    def training(self, start: int, stop: int | None = None) -> Iterator[Any]:
        """The training batches from step `start` on, to the end of the run or before step `stop`."""
        return self._run(self.dataset.split("train"), self.planned, start, self.total_steps if stop is None else stop)

    def utterance_ids(self, step: int) -> list[str]:
        """The ids of a training step's utterances."""
        ids = self.dataset.split("train").ids
        return [ids[i] for i in self.planned(step).examples.reshape(-1) if i >= 0]

    def evaluation(self, split: str, only: Collection[int] | None = None) -> Iterator[Any]:
        """The batches of a split, every utterance exactly once; or those with `only` some, by index in the split."""
        records, batches = self.dataset.split(split), self._evaluation(split)
        if only is not None:
            batches = [batch for batch in batches if np.isin(batch, list(only)).any()]
        return self._run(records, lambda i: self._shaped(batches[i], records), 0, len(batches))

    def padding(self, shape: Shape) -> Any:
        """A batch of padding rows for the devices of all processes."""
        none = np.full((self.groups, self.rows), -1, np.int32)
        lengths = Lengths(*(np.zeros(none.shape, np.int32) for _ in Lengths._fields))
        return self._packer(Records([], [], none, lengths, shape))

    def _evaluation(self, split: str) -> list[np.ndarray]:
        records = self.dataset.split(split)
        batches = planning.evaluation_batches(records.lengths, self.batch_size, self._layout)
        return [self._grouped(b, records) for b in batches]

    def _evaluation_shapes(self, split: str) -> list[Shape]:
        records = self.dataset.split(split)
        return list(dict.fromkeys(self._shaped(batch, records).shape for batch in self._evaluation(split)))

    def _grouped_epoch(self, epoch: int) -> list[np.ndarray]:
        records = self.dataset.split("train")
        batches = planning.training_batches(records.lengths, self.batch_size, self.text_max_len, self.seed, epoch)
        return [self._grouped(b, records) for b in batches]

    def _grouped(self, batch: np.ndarray, split: Split) -> np.ndarray:
        return planning.group(batch, split.lengths, self.groups, self.batch_size, self._layout)

    def _required_shape(self, examples: np.ndarray, split: Split) -> Shape:
        return planning.required_shape(examples, split.lengths, self.text_max_len, self._layout)

    def _shaped(self, examples: np.ndarray, split: Split) -> PlannedBatch:
        required = self._required_shape(examples, split)
        return PlannedBatch(examples, planning.choose_shape(self.ladder, required, self.rows, self._layout))

    def _fit_ladder(self, max_shapes: int) -> tuple[Shape, ...]:
        splits = [self.dataset.split(name) for name in ["train"] * bool(self.epochs) + ["valid", "test"]]
        required = []
        for split in splits:
            if split.name == "train":
                epochs = min(self.epochs, max(1, planning.SAMPLED_BATCHES // self.steps_per_epoch))
                grouped = [batch for epoch in range(epochs) for batch in self._grouped_epoch(epoch)]
            else:
                grouped = self._evaluation(split.name)
            required += [self._required_shape(batch, split) for batch in grouped]
        ladder = planning.fit_ladder(required, max_shapes, self.rows, self._layout)
        # The last shape is compiled only if a batch outside the sample needs it.
        bounds = [planning.largest_shape(s.lengths, self.rows, self.text_max_len, self._layout) for s in splits]
        return (*ladder, Shape(*(max(sizes) for sizes in zip(*bounds, strict=True))))

    def _run(self, split: Split, planned: Callable[[int], PlannedBatch], start: int, stop: int) -> Iterator[Any]:
        # Problems by step and index in the split. An error raised here would be wrapped by TensorFlow.
        problems: dict[int, dict[int, str]] = {}

        def load(step):
            step_plan = planned(int(step))
            batch, problems[int(step)] = self._packed(split, step_plan.examples[self._local], step_plan.shape)
            return tuple(batch)

        padding = self.padding(Shape(1, 1, 1))
        dtypes = [tf.as_dtype(array.dtype) for array in padding]

        def batch(step):
            return type(padding)(*tf.numpy_function(load, [step], dtypes))

        steps = tf.data.Dataset.range(start, stop)
        batches: Any = steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(PREFETCH)
        for step, loaded in zip(range(start, stop), batches.as_numpy_iterator(), strict=True):
            for example, reason in sorted(problems.pop(step).items()):
                self.skipped.add(split, example, reason)
            yield loaded

    def _packed(self, split: Split, examples: np.ndarray, shape: Shape) -> tuple[Any, dict[int, str]]:
        """A batch without unusable utterances, and their problems by index in the split."""
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
                problems[int(examples[bad.row])] = bad.reason

    def _reader(self, split: Split) -> RecordReader:
        # Two threads may create two; either is correct.
        if split.name not in self._readers:
            self._readers[split.name] = RecordReader(split.files)
        return self._readers[split.name]


def _without(examples: np.ndarray, bad: Collection[int]) -> np.ndarray:
    return np.where(np.isin(examples, list(bad)), np.int32(-1), examples) if bad else examples


def _packer(dataset: Dataset, text_max_len: int, audio_columns: Sequence[int], mask_absent: bool) -> Packer:
    labels = len(dataset.label_names)
    if dataset.kind == "media":
        tokenizer = dataset.tokenizer
        sep, vocabulary = int(tokenizer["sep_id"]), int(tokenizer["vocab_size"])
        return MediaPacker(labels, text_max_len, sep, vocabulary, mask_absent)
    columns = audio_columns or range(dataset.feature_sizes[1])
    return FeaturePadder(labels, text_max_len, dataset.feature_sizes, tuple(columns))

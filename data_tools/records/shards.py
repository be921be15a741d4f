"""Writes the numbered ArrayRecord files of a split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer


class ShardWriter:
    """Writes the files of a split; the same examples give the same bytes."""

    def __init__(
        self, directory: Path, name: str, split: str, features: tfds.features.FeaturesDict, examples_per_shard: int
    ):
        """Creates no file yet: a split without examples has none. `name` is that of the dataset."""
        self._template = tfds.core.ShardedFileTemplate(
            data_dir=epath.Path(directory),
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
            dataset_name=name,
            split=split,
            filetype_suffix="array_record",
        )
        self._split = split
        self._features = features
        self._examples_per_shard = examples_per_shard
        info: Any = features.get_serialized_info()
        self._serializer = ExampleSerializer(dict(info))
        self._shard_lengths: list[int] = []
        self._bytes = 0
        self._shard: Any = None  # the open ArrayRecordWriter

    def add(self, example: Mapping[str, Any]) -> None:
        """Appends an example, which must match the features."""
        if self._shard is None:
            path = self._template.sharded_filepath(shard_index=len(self._shard_lengths), num_shards=None)
            # group_size 1: a random read decompresses one example only. snappy: sound and faces hardly compress, so
            # that the default, zstd, saves 7 % of the size and takes twice as long to read.
            self._shard = ArrayRecordWriter(str(path), "group_size:1,snappy")
            self._shard_lengths.append(0)
        message = self._serializer.get_tf_example(self._features.encode_example(dict(example)))
        # `deterministic` fixes the order of a proto's map entries, for which tfds's SequentialWriter has no option.
        serialized = message.SerializeToString(deterministic=True)
        self._shard.write(serialized)
        self._bytes += len(serialized)
        self._shard_lengths[-1] += 1
        if self._shard_lengths[-1] == self._examples_per_shard:
            self.close()

    def close(self) -> None:
        """Finishes the open file."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def info(self) -> tfds.core.SplitInfo:
        """The description of the split for tensorflow-datasets."""
        return tfds.core.SplitInfo(
            name=self._split, shard_lengths=self._shard_lengths, num_bytes=self._bytes, filename_template=self._template
        )

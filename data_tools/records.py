"""Utterances as tensorflow-datasets records: the schema and the writer.

A finished directory is opened by `tfds.builder_from_directory`; training needs nothing of this
package. The file format is ArrayRecord, so any example can be read by its index.

Axes: `n` tokens of an utterance, `t` frames, `s` mel chunks of 128 bands x 32 time steps.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.splits import SplitDict

from data_tools.unfinished import finished_directory

FORMAT_VERSION = 1
LABEL_NAMES = ("anger", "disgust", "fear", "happy", "sad", "surprise")
FACE_SIZE = 48
MEL_BANDS = 128
CHUNK_FRAMES = 32
EXAMPLES_PER_SHARD = 2048


_TEXTS = ("utterance_id", "dialogue_id", "speaker", "transcript")
_ARRAYS: dict[str, tuple[tuple[int | None, ...], type[np.generic]]] = {
    "token_ids": ((None,), np.int32),
    "faces": ((None, FACE_SIZE, FACE_SIZE, 3), np.uint8),
    "face_found": ((None,), np.bool_),
    "frame_ms": ((None,), np.float32),
    "mel": ((None, MEL_BANDS, CHUNK_FRAMES), np.float32),
    "label": ((len(LABEL_NAMES),), np.float32),
}
FEATURES = tfds.features.FeaturesDict(
    {name: tfds.features.Text() for name in _TEXTS}
    | {
        name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)
        for name, (shape, dtype) in _ARRAYS.items()
    }
)


def write_dataset(
    out_dir: str | Path,
    *,
    name: str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
    add_files: Callable[[Path], None] | None = None,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> None:
    """Writes a dataset directory; examples stream through, one is in memory at a time.

    The same examples in the same order give the same bytes.

    Args:
      out_dir: the directory to make. It appears only once everything in it is written.
      name: the tfds name of the dataset, lower-case letters, digits and underscores.
      splits: for each split its examples in the order to store them. An example holds every
        feature of `FEATURES`: `token_ids` int32 `[n]`, `faces` uint8 `[t, 48, 48, 3]`,
        `face_found` bool `[t]`, `frame_ms` float32 `[t]` (ms from the utterance's start),
        `mel` float32 `[s, 128, 32]`, `label` float32 `[6]` of 0 and 1, and four texts.
      metadata: stored as the dataset's metadata. `format_version` and `splits` are added:
        per split `utterances`, `positives` (per label), and per example, in stored order,
        `frames`, `chunks` and `tokens`.
      add_files: called with the unfinished directory before it takes its name, to put further
        files beside the records.
      examples_per_shard: examples in one file.

    Raises:
      OutputExistsError: `out_dir` exists and is not empty.
      ValueError: an example does not fit `FEATURES`, two share their `utterance_id`, or no
        split has any example.
    """
    with finished_directory(Path(out_dir)) as unfinished:
        if add_files is not None:
            add_files(unfinished)
        writers: dict[str, _SplitWriter] = {}
        seen: set[str] = set()
        for split, examples in splits.items():
            writer = _SplitWriter(unfinished, name, split, examples_per_shard)
            for example in examples:
                _check(example, seen)
                writer.add(example)
            writer.close()
            writers[split] = writer
        if not seen:
            raise ValueError(
                f"Expected examples to write to {out_dir}, found none in the splits "
                f"{', '.join(splits) or '(no splits)'}."
            )
        _write_info(unfinished, name, writers, metadata)


class _SplitWriter:
    """Appends examples to numbered ArrayRecord files and counts what the planner must know."""

    def __init__(self, directory: Path, name: str, split: str, examples_per_shard: int):
        self.counts: dict[str, Any] = {
            "utterances": 0,
            "positives": [0] * len(LABEL_NAMES),
            "frames": [],
            "chunks": [],
            "tokens": [],
        }
        self._template = tfds.core.ShardedFileTemplate(
            data_dir=epath.Path(directory),
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
            dataset_name=name,
            split=split,
            filetype_suffix="array_record",
        )
        self._split = split
        self._examples_per_shard = examples_per_shard
        features: Any = FEATURES.get_serialized_info()
        self._serializer = ExampleSerializer(dict(features))
        self._shard_lengths: list[int] = []
        self._bytes = 0
        self._shard: Any = None  # the open ArrayRecordWriter

    def add(self, example: Mapping[str, Any]) -> None:
        if self._shard is None:
            path = self._template.sharded_filepath(shard_index=len(self._shard_lengths), num_shards=None)
            # group_size 1: a random read decompresses one example, not its neighbours too.
            self._shard = ArrayRecordWriter(str(path), "group_size:1")
            self._shard_lengths.append(0)
        message = self._serializer.get_tf_example(FEATURES.encode_example(dict(example)))
        # Without `deterministic`, the order of a proto's map entries varies from run to run.
        # That is the one reason for not using tfds's own SequentialWriter.
        serialized = message.SerializeToString(deterministic=True)
        self._shard.write(serialized)
        self._bytes += len(serialized)
        self._shard_lengths[-1] += 1
        self.counts["utterances"] += 1
        self.counts["frames"].append(len(example["faces"]))
        self.counts["chunks"].append(len(example["mel"]))
        self.counts["tokens"].append(len(example["token_ids"]))
        for i, value in enumerate(example["label"]):
            self.counts["positives"][i] += int(value)
        if self._shard_lengths[-1] == self._examples_per_shard:
            self.close()

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def info(self) -> tfds.core.SplitInfo:
        return tfds.core.SplitInfo(
            name=self._split,
            shard_lengths=self._shard_lengths,
            num_bytes=self._bytes,
            filename_template=self._template,
        )


def _check(example: Mapping[str, Any], seen: set[str]) -> None:
    missing = [name for name in FEATURES if name not in example]
    unknown = [name for name in example if name not in FEATURES]
    identity = example.get("utterance_id", "(no utterance_id)")
    if missing or unknown:
        raise ValueError(
            f"Utterance {identity}: expected the features {', '.join(FEATURES)}; missing {missing}, unknown {unknown}."
        )
    if identity in seen:
        raise ValueError(f"Utterance {identity} is given twice; an utterance_id must be unique.")
    seen.add(identity)
    for name in _TEXTS:
        if not isinstance(example[name], str):
            raise ValueError(f"Utterance {identity}: expected {name} to be a str.")
    for name, (shape, dtype) in _ARRAYS.items():
        value = example[name]
        if not (isinstance(value, np.ndarray) and value.dtype == dtype and _fits(value, shape)):
            found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else value
            raise ValueError(
                f"Utterance {identity}: expected {name} as an array {np.dtype(dtype)} {list(shape)}, found {found}."
            )
    frames = {name: len(example[name]) for name in ("faces", "face_found", "frame_ms")}
    if len(set(frames.values())) != 1:
        raise ValueError(f"Utterance {identity}: expected equally many of each, found {frames}.")
    if not np.isin(example["label"], (0.0, 1.0)).all():
        raise ValueError(f"Utterance {identity}: expected labels 0 and 1, found {example['label'].tolist()}.")


def _fits(value: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    return value.ndim == len(shape) and all(
        expected in (None, actual) for expected, actual in zip(shape, value.shape, strict=True)
    )


def _write_info(directory: Path, name: str, writers: Mapping[str, _SplitWriter], metadata: Mapping[str, Any]) -> None:
    splits = {split: writer.counts for split, writer in writers.items()}
    info = tfds.core.DatasetInfo(
        builder=DatasetIdentity(
            name=name,
            version=tfds.core.Version(f"{FORMAT_VERSION}.0.0"),
            data_dir=str(directory),
            module_name="data_tools.records",
        ),
        description="Utterances with faces, mel chunks, tokens and multi-hot emotions.",
        features=FEATURES,
        # The planner addresses examples by their stored position.
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict({"format_version": FORMAT_VERSION, **metadata, "splits": splits}),
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    # A split without examples has no file, which tfds reads as an unknown length: leave it out.
    infos = [w.info() for w in writers.values() if w.counts["utterances"]]
    for empty in (split for split, w in writers.items() if not w.counts["utterances"]):
        logging.warning("Split %s of %s has no examples.", empty, directory)
    info.set_splits(SplitDict(infos))
    info.write_to_directory(directory)

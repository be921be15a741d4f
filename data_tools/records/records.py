"""Defines the schemas of records and writes them with tensorflow-datasets.

`tfds.builder_from_directory` opens a finished directory; training does not need this package. ArrayRecord, the file
format, reads any example by its index. End-to-end models read records of kind `media`, baselines of kind `features`.

Axes: `n` tokens, `l` words, `t` frames, `s` mel chunks of 128 bands x 32 time steps, or rows of audio features.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.splits import SplitDict

from data_tools.records.shards import ShardWriter
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, FORMAT_VERSION, MEL_BANDS
from mme2e_jax.runtime.files import finished_directory

EXAMPLES_PER_SHARD = 2048

_TEXTS = ("utterance_id", "dialogue_id", "speaker", "transcript")
_LABEL = ((6,), np.float32)


@dataclass(frozen=True)
class Schema:
    """The arrays of an example of one record kind, in addition to its four texts."""

    metadata: Mapping[str, Any]  # entries of the dataset's metadata; `kind` is the record kind
    description: str  # description of a dataset
    # Shape (None for a varying size) and type by name.
    arrays: Mapping[str, tuple[tuple[int | None, ...], type[np.generic]]]
    counted: Mapping[str, str]  # array that each count of the metadata counts
    aligned: tuple[str, ...] = ()  # arrays of equal length

    @functools.cached_property
    def features(self) -> tfds.features.FeaturesDict:
        """The schema for tensorflow-datasets, which stores arrays as bytes."""
        return tfds.features.FeaturesDict(
            {name: tfds.features.Text() for name in _TEXTS}
            | {
                name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)
                for name, (shape, dtype) in self.arrays.items()
            }
        )

    def with_labels(self, count: int) -> "Schema":
        """The schema with another number of labels than six."""
        return replace(self, arrays={**self.arrays, "label": ((count,), np.float32)})


MEDIA = Schema(
    metadata={"kind": "media"},
    description="Utterances with faces, mel chunks, tokens and multi-hot emotions.",
    arrays={
        "token_ids": ((None,), np.int32),
        "faces": ((None, FACE_SIZE, FACE_SIZE, 3), np.uint8),
        "face_found": ((None,), np.bool_),
        "frame_ms": ((None,), np.float32),
        "mel": ((None, MEL_BANDS, CHUNK_FRAMES), np.float32),
        "label": _LABEL,
    },
    counted={"frames": "faces", "chunks": "mel", "tokens": "token_ids"},
    aligned=("faces", "face_found", "frame_ms"),
)


def feature_schema(sizes: Sequence[int]) -> Schema:
    """The schema of hand-crafted features; raises ValueError unless `sizes` are three widths.

    An example holds `label` and the float32 arrays `text` `[l, sizes[0]]`, `audio` `[s, sizes[1]]` and `video`
    `[t, sizes[2]]`. The metadata counts their rows as `tokens`, `chunks` and `frames`.
    """
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"Expected the widths of text, audio and video features, found {list(sizes)}.")
    text, audio, video = map(int, sizes)
    return Schema(
        metadata={"kind": "features", "feature_sizes": [text, audio, video]},
        description="Utterances with features of their words, sounds and faces, and multi-hot emotions.",
        arrays={
            "text": ((None, text), np.float32),
            "audio": ((None, audio), np.float32),
            "video": ((None, video), np.float32),
            "label": _LABEL,
        },
        counted={"frames": "video", "chunks": "audio", "tokens": "text"},
    )


def write_dataset(
    out_dir: str | Path,
    *,
    name: str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    metadata: Mapping[str, Any],
    schema: Schema = MEDIA,
    add_files: Callable[[Path], None] | None = None,
    examples_per_shard: int = EXAMPLES_PER_SHARD,
) -> None:
    """Writes a dataset directory, which appears when it is complete, with one example in memory at a time.

    The same examples in the same order give the same bytes. Raises `OutputExistsError` if `out_dir` exists and is not
    empty, and ValueError if an example does not fit the schema or holds NaN or infinite values, two examples have one
    `utterance_id`, or there are no examples.

    Args:
      name: tfds name of the dataset: lower-case letters, digits and underscores.
      splits: examples of each split in the order to store them. An example holds four texts (`utterance_id`,
        `dialogue_id`, `speaker`, `transcript`) and every array of the schema. `label` is float32 of 0 and 1.
      metadata: metadata of the dataset, to which are added `format_version`, the schema's `metadata`, and `splits`: per
        split `utterances`, `positives` (per label), and, for each example in stored order, `utterance_ids`, `frames`,
        `chunks` and `tokens`.
      schema: a `feature_schema`, or `MEDIA`: `token_ids` int32 `[n]`, `faces` uint8 `[t, 48, 48, 3]`, `face_found` bool
        `[t]`, `frame_ms` float32 `[t]` (ms from the utterance's start), `mel` float32 `[s, 128, 32]`.
      add_files: function that adds files to the unfinished directory.
    """
    with finished_directory(Path(out_dir)) as unfinished:
        if add_files is not None:
            add_files(unfinished)
        writers: dict[str, ShardWriter] = {}
        counts: dict[str, dict[str, Any]] = {}
        seen: set[str] = set()
        for split, examples in splits.items():
            writers[split] = ShardWriter(unfinished, name, split, schema.features, examples_per_shard)
            ids: list[str] = []
            positives = np.zeros([size or 0 for size in schema.arrays["label"][0]], int)
            lengths: dict[str, list[int]] = {count: [] for count in schema.counted}
            for example in examples:
                _check(example, schema, seen)
                writers[split].add(example)
                ids.append(example["utterance_id"])
                positives += example["label"].astype(int)
                for count, name_counted in schema.counted.items():
                    lengths[count].append(len(example[name_counted]))
            writers[split].close()
            counts[split] = {"utterances": len(ids), "positives": positives.tolist(), "utterance_ids": ids, **lengths}
        if not seen:
            raise ValueError(
                f"Expected examples to write to {out_dir}, found none in the splits "
                f"{', '.join(splits) or '(no splits)'}."
            )
        metadata = {"format_version": FORMAT_VERSION, **metadata, **schema.metadata, "splits": counts}
        _write_info(unfinished, name, schema, writers, metadata)


def _check(example: Mapping[str, Any], schema: Schema, seen: set[str]) -> None:
    expected = (*_TEXTS, *schema.arrays)
    missing = [name for name in expected if name not in example]
    unknown = [name for name in example if name not in expected]
    identity = example.get("utterance_id", "(no utterance_id)")
    if missing or unknown:
        raise ValueError(
            f"Utterance {identity}: expected the features {', '.join(expected)}; missing {missing}, unknown {unknown}."
        )
    if identity in seen:
        raise ValueError(f"Utterance {identity} is given twice; an utterance_id must be unique.")
    seen.add(identity)
    for name in _TEXTS:
        if not isinstance(example[name], str):
            raise ValueError(f"Utterance {identity}: expected {name} to be a str.")
    for name, (shape, dtype) in schema.arrays.items():
        value = example[name]
        fits = isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == len(shape)
        if not fits or any(size not in (None, n) for size, n in zip(shape, value.shape, strict=True)):
            found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else value
            raise ValueError(
                f"Utterance {identity}: expected {name} as an array {np.dtype(dtype)} {list(shape)}, found {found}."
            )
        if not np.isfinite(value).all():
            raise ValueError(f"Utterance {identity}: expected finite numbers in {name}, found NaN or infinite ones.")
    rows = {name: len(example[name]) for name in schema.aligned}
    if len(set(rows.values())) > 1:
        raise ValueError(f"Utterance {identity}: expected arrays of equal length, found {rows}.")
    if not np.isin(example["label"], (0.0, 1.0)).all():
        raise ValueError(f"Utterance {identity}: expected labels 0 and 1, found {example['label'].tolist()}.")


def _write_info(
    directory: Path, name: str, schema: Schema, writers: Mapping[str, ShardWriter], metadata: Mapping[str, Any]
) -> None:
    info = tfds.core.DatasetInfo(
        builder=DatasetIdentity(
            name=name,
            version=tfds.core.Version(f"{FORMAT_VERSION}.0.0"),
            data_dir=str(directory),
            module_name="data_tools.records",
        ),
        description=schema.description,
        features=schema.features,
        # The planner reads examples by their stored position.
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(metadata),
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    # A split without examples has no file, and tfds would take its length as unknown.
    empty = [split for split, counts in metadata["splits"].items() if not counts["utterances"]]
    for split in empty:
        logging.warning("Split %s of %s has no examples.", split, directory)
    info.set_splits(SplitDict([writer.info() for split, writer in writers.items() if split not in empty]))
    info.write_to_directory(directory)

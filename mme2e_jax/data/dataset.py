"""A dataset directory, as preparation leaves it: its splits, its lengths, what its labels are called."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mme2e_jax.data.plan import Lengths
from mme2e_jax.errors import UserError
from mme2e_jax.prerequisites import missing_records

FORMAT_VERSION = 1
FEATURES = ("utterance_id", "token_ids", "faces", "mel", "label")


@dataclasses.dataclass(frozen=True)
class Split:
    """The records of one split."""

    name: str
    files: tuple[str, ...]  # ArrayRecord files, in stored order
    lengths: Lengths
    positives: np.ndarray  # int [l], utterances that have each label

    def __len__(self) -> int:
        return len(self.lengths.tokens)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Prepared records and what one must know to train on them."""

    directory: Path
    name: str
    label_names: tuple[str, ...]
    tokenizer: Mapping[str, Any]  # name, sha256, vocab_size, pad_id, cls_id, sep_id
    preprocessing: Mapping[str, Any]  # frame interval, sample rate, mel settings
    splits: Mapping[str, Split]

    def split(self, name: str) -> Split:
        """A split by name.

        Raises:
          UserError: if it is missing or empty.
        """
        if name not in self.splits or len(self.splits[name]) == 0:
            have = ", ".join(f"{s.name} ({len(s)})" for s in self.splits.values())
            raise UserError(
                f"{self.directory} has no utterances in its {name} split; it has {have or 'no splits at all'}. "
                "Prepare it again with splits that leave some for train, valid and test."
            )
        return self.splits[name]


def open_dataset(directory: str | Path, name: str = "mosei") -> Dataset:
    """Opens prepared records.

    Args:
      directory: of the records.
      name: of the dataset that is looked for, to say how to get it where it is missing.

    Raises:
      UserError: if there is no such directory, it is no dataset, or one of another format version.
    """
    directory = Path(directory)
    missing = missing_records(directory, name)
    if missing:
        raise UserError(missing)
    builder = tfds.builder_from_directory(directory)
    metadata = dict(builder.info.metadata or {})
    if metadata.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{directory} has records of format version {metadata.get('format_version')}; this program reads "
            f"version {FORMAT_VERSION}. Prepare the data again with the data_tools of this version."
        )
    features: Any = builder.info.features
    absent = [f for f in FEATURES if f not in features]
    if absent:
        raise UserError(f"{directory}: the records lack the features {', '.join(absent)}. Prepare the data again.")
    splits = {s: _split(builder, directory, s, entry) for s, entry in metadata["splits"].items()}
    return Dataset(
        directory=directory,
        name=metadata["dataset"],
        label_names=tuple(metadata["label_names"]),
        tokenizer=metadata["tokenizer"],
        preprocessing={k: metadata[k] for k in ("frame_interval_ms", "face_size", "sample_rate", "mel")},
        splits=splits,
    )


def _split(builder: tfds.core.DatasetBuilder, directory: Path, name: str, entry: Mapping[str, Any]) -> Split:
    lengths = Lengths(*(np.asarray(entry[k], np.int64) for k in ("tokens", "frames", "chunks")))
    info = builder.info.splits.get(name)
    stored = info.num_examples if info is not None else 0
    if stored != len(lengths.tokens):
        raise UserError(
            f"{directory}: split {name} holds {stored} records, its metadata speaks of {len(lengths.tokens)}. "
            "The directory is damaged or was edited; prepare the data again."
        )
    files = tuple(str(p) for p in info.filepaths) if info is not None else ()
    return Split(name, files, lengths, np.asarray(entry["positives"], np.int64))

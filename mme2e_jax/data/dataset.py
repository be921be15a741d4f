"""A dataset directory, as preparation leaves it: its splits, its lengths, what its labels are called."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mme2e_jax.conventions import FORMAT_VERSION
from mme2e_jax.data.plan import Lengths
from mme2e_jax.errors import UserError
from mme2e_jax.prerequisites import how_to_prepare, missing_records

# What is read of an utterance, by kind of records.
FEATURES = {
    "media": ("utterance_id", "token_ids", "faces", "mel", "label"),
    "features": ("utterance_id", "text", "audio", "video", "label"),
}
# How data were prepared, as their metadata say: what a model must be given that was trained on such data.
_PREPROCESSING = {
    "media": ("frame_interval_ms", "face_size", "face_choice", "sample_rate", "mel"),
    "features": ("kind", "feature_sizes", "features"),
}
# What metadata of this format version did not always say: how it was then.
_UNSAID = {"face_choice": "most_probable"}


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
    kind: str  # "media" or "features"
    label_names: tuple[str, ...]
    tokenizer: Mapping[str, Any]  # name, sha256, vocab_size, pad_id, cls_id, sep_id; nothing for features
    feature_sizes: tuple[int, ...]  # widths of text, audio and video as stored; nothing for media
    preprocessing: Mapping[str, Any]  # frame interval, sample rate, mel settings, or what the features are
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


def open_dataset(directory: str | Path, name: str = "mosei", kind: str = "media") -> Dataset:
    """Opens prepared records.

    Args:
      directory: of the records.
      name: of the dataset that is looked for, to say how to get it where it is missing.
      kind: of records that is needed, see `config.records_kind`.

    Raises:
      UserError: if there is no such directory, it is no dataset, or one of another kind or format version.
    """
    directory = Path(directory)
    missing = missing_records(directory, name, kind)
    if missing:
        raise UserError(missing)
    builder = tfds.builder_from_directory(directory)
    metadata = dict(builder.info.metadata or {})
    if metadata.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{directory} has records of format version {metadata.get('format_version')}; this program reads "
            f"version {FORMAT_VERSION}. Prepare the data again with the data_tools of this version."
        )
    found = metadata.get("kind", "media")
    if found != kind:
        raise UserError(
            f"{directory} holds records of the kind {found!r}; this model reads the kind {kind!r}. "
            f"{how_to_prepare(name, kind)}"
        )
    features: Any = builder.info.features
    absent = [f for f in FEATURES[kind] if f not in features]
    if absent:
        raise UserError(f"{directory}: the records lack the features {', '.join(absent)}. Prepare the data again.")
    splits = {s: _split(builder, directory, s, entry) for s, entry in metadata["splits"].items()}
    return Dataset(
        directory=directory,
        name=metadata["dataset"],
        kind=kind,
        label_names=tuple(metadata["label_names"]),
        tokenizer=metadata["tokenizer"] if kind == "media" else {},
        feature_sizes=tuple(metadata["feature_sizes"]) if kind == "features" else (),
        preprocessing={k: (_UNSAID | metadata)[k] for k in _PREPROCESSING[kind]},
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

"""Opens a directory of prepared records: splits, lengths and label names."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.config.preflight import how_to_prepare, missing_records
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data.description import Description, Feature, Files, read_description, reading
from mme2e_jax.data.plan import Lengths
from mme2e_jax.data.reader import check_files
from mme2e_jax.errors import UserError

# Features read of each record, by kind of records.
FEATURES = {
    "media": ("utterance_id", "token_ids", "faces", "mel", "label"),
    "features": ("utterance_id", "text", "audio", "video", "label"),
}
# Metadata of the preparation that must be the same for training and inference.
_PREPROCESSING = {
    "media": ("frame_interval_ms", "face_size", "face_choice", "sample_rate", "mel"),
    "features": ("kind", "feature_sizes", "features"),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """The records of one split."""

    name: str
    files: Files  # ArrayRecord files
    ids: tuple[str, ...]  # utterance ids, in stored order
    lengths: Lengths
    positives: np.ndarray  # int [l], number of utterances with each label

    def __len__(self) -> int:
        return len(self.lengths.tokens)

    def locate(self, example: int) -> tuple[Path, int]:
        """The file that holds an utterance, and its position in the file, from 0."""
        ends = np.cumsum(self.files.records)
        index = int(np.searchsorted(ends, example, side="right"))
        return self.files.paths[index], example - int(ends[index] - self.files.records[index])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Prepared records and their metadata."""

    directory: Path
    name: str
    kind: str  # "media" or "features"
    label_names: tuple[str, ...]
    tokenizer: Mapping[str, Any]  # name, sha256, vocab_size, pad_id, cls_id, sep_id; empty for features
    feature_sizes: tuple[int, ...]  # widths of text, audio and video as stored; empty for media
    preprocessing: Mapping[str, Any]  # frame interval, sample rate, mel settings, or description of the features
    splits: Mapping[str, Split]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of the training and validation data that a run's batches depend on."""
        digest = hashlib.sha256()
        for name in ("train", "valid"):
            split = self.split(name)
            for values in (*split.lengths, split.positives):
                digest.update(np.asarray(values, "<i8").tobytes() + b"|")
            digest.update("|".join(split.ids).encode())
        return digest.hexdigest()

    def split(self, name: str) -> Split:
        """A split by name; raises `UserError` if it is missing or empty."""
        if name not in self.splits or len(self.splits[name]) == 0:
            found = ", ".join(f"{s.name} ({len(s)})" for s in self.splits.values())
            raise UserError(
                f"{self.directory} has no utterances in its {name} split; it has {found or 'no splits at all'}. "
                "Prepare it again with splits that leave some for train, valid and test."
            )
        return self.splits[name]


def open_dataset(directory: str | Path, name: str = "mosei", kind: str = "media") -> Dataset:
    """Opens prepared records.

    Args:
      directory: directory of the records.
      name: name of the dataset, for the error message if it is missing.
      kind: required kind of records, "media" or "features".

    Raises:
      UserError: if the directory is missing, holds no dataset, or one of another kind or format version.
    """
    directory = Path(directory)
    missing = missing_records(directory, name, kind)
    if missing:
        raise UserError(missing)
    description = read_description(directory)
    metadata = description.metadata
    found = metadata.get("kind", "media")
    if found != kind:
        raise UserError(
            f"{directory} holds records of the kind {found!r}; this model reads the kind {kind!r}. "
            f"{how_to_prepare(name, kind)}"
        )
    with reading(directory / "metadata.json"):
        dataset = _dataset(directory, kind, description)
    _check_features(dataset, description)
    check_files((split.name, split.files, split.ids) for split in dataset.splits.values())
    return dataset


def _dataset(directory: Path, kind: str, description: Description) -> Dataset:
    metadata = description.metadata
    labels = tuple(_texts(metadata["label_names"]))
    splits = {s: _split(directory, description, s, entry, len(labels)) for s, entry in metadata["splits"].items()}
    return Dataset(
        directory=directory,
        name=str(metadata["dataset"]),
        kind=kind,
        label_names=labels,
        tokenizer=_tokenizer(metadata["tokenizer"]) if kind == "media" else {},
        feature_sizes=tuple(int(size) for size in metadata["feature_sizes"]) if kind == "features" else (),
        preprocessing={k: metadata[k] for k in _PREPROCESSING[kind]},
        splits=splits,
    )


def _split(directory: Path, description: Description, name: str, entry: Mapping[str, Any], labels: int) -> Split:
    lengths = Lengths(*(np.asarray(entry[k], np.int64) for k in ("tokens", "frames", "chunks")))
    ids = tuple(_texts(entry["utterance_ids"]))
    positives = np.asarray(entry["positives"], np.int64)
    if any(values.shape != (len(ids),) or values.min(initial=0) < 0 for values in lengths):
        raise ValueError(f"split {name}: expected {len(ids)} lengths of each kind, none below 0")
    if positives.shape != (labels,):
        raise ValueError(f"split {name}: expected the positives of {labels} labels, found {positives.tolist()}")
    files = description.files.get(name, Files((), ()))
    stored = sum(files.records)
    if stored != len(ids):
        raise UserError(
            f"{directory}: split {name} holds {stored} records, its metadata lists {len(ids)}. "
            "The directory is damaged or was edited; prepare the data again."
        )
    return Split(name, files, ids, lengths, positives)


def _tokenizer(tokenizer: Mapping[str, Any]) -> Mapping[str, Any]:
    if not all(isinstance(tokenizer[key], int) for key in ("vocab_size", "sep_id")):
        raise TypeError(f"expected vocab_size and sep_id of the tokenizer as whole numbers, found {tokenizer}")
    return tokenizer


def _texts(values: Any) -> list[str]:
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise ValueError(f"expected a list of texts, found {str(values)[:80]}")
    return values


def _check_features(dataset: Dataset, description: Description) -> None:
    """Raises `UserError` if features are missing or stored in another format."""
    labels = Feature("float32", (len(dataset.label_names),))
    if dataset.kind == "media":
        arrays = {
            "token_ids": Feature("int32", (-1,)),
            "faces": Feature("uint8", (-1, FACE_SIZE, FACE_SIZE, 3)),
            "mel": Feature("float32", (-1, MEL_BANDS, CHUNK_FRAMES)),
        }
    else:
        names = ("text", "audio", "video")
        arrays = {name: Feature("float32", (-1, size)) for name, size in zip(names, dataset.feature_sizes, strict=True)}
    expected = {"utterance_id": None, **arrays, "label": labels}
    assert tuple(expected) == FEATURES[dataset.kind]
    wrong = [
        f"{name} (expected {feature or 'a text'}, found {description.features.get(name, 'nothing')})"
        for name, feature in expected.items()
        if name not in description.features or description.features[name] != feature
    ]
    if wrong:
        raise UserError(
            f"{dataset.directory}: the records lack features, or store them in another format: "
            f"{'; '.join(wrong)}. Prepare the data again."
        )

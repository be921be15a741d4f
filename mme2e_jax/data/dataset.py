"""Opens a directory of prepared records: splits, lengths and label names."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.config.preflight import how_to_prepare, missing_records
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data.description import PREPROCESSING, Description, Feature, Files, read_description
from mme2e_jax.data.plan import Lengths
from mme2e_jax.data.reader import check_files
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.files import require_utf8

_MOST_COMPRESSION = 64 / 3  # snappy, which compresses the files, copies at most 64 bytes by 3


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

    def compute_fingerprint(self) -> str:
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
    """Opens prepared records of a required `kind`, "media" or "features"; `name` is the dataset's, for messages.

    Raises `UserError` if the directory is missing, holds no dataset, or one of another kind or format version.
    """
    directory = Path(directory)
    if missing := missing_records(directory, name, kind):
        raise UserError(missing)
    require_utf8(directory)
    description = read_description(directory)
    metadata = description.metadata
    if metadata.kind != kind:
        raise UserError(
            f"{directory} holds records of the kind {metadata.kind!r}; this model reads the kind {kind!r}. "
            f"{how_to_prepare(name, kind)}"
        )
    dataset = Dataset(
        directory=directory,
        name=metadata.dataset,
        kind=metadata.kind,
        label_names=tuple(metadata.label_names),
        tokenizer=metadata.tokenizer or {},
        feature_sizes=tuple(metadata.feature_sizes or ()),
        preprocessing={key: getattr(metadata, key) for key in PREPROCESSING[metadata.kind]},
        splits={name: _split(directory, description, name) for name in metadata.splits},
    )
    _check_features(dataset, description)
    check_files((split.name, split.files, split.ids) for split in dataset.splits.values())
    for split in dataset.splits.values():
        _check_lengths(dataset, split)
    return dataset


def _split(directory: Path, description: Description, name: str) -> Split:
    stated = description.metadata.splits[name]
    lengths = Lengths(*(np.asarray(values, np.int64) for values in (stated.tokens, stated.frames, stated.chunks)))
    files = description.files.get(name, Files((), ()))
    if sum(files.records) != len(stated.utterance_ids):
        raise UserError(
            f"{directory}: split {name} holds {sum(files.records)} records, its metadata lists "
            f"{len(stated.utterance_ids)}. The directory is damaged or was edited; prepare the data again."
        )
    return Split(name, files, tuple(stated.utterance_ids), lengths, np.asarray(stated.positives, np.int64))


def _check_lengths(dataset: Dataset, split: Split) -> None:
    """Raises `UserError` if the lengths, by which batches get their sizes, are more than the files can hold."""
    media = (4, FACE_SIZE * FACE_SIZE * 3, 4 * MEL_BANDS * CHUNK_FRAMES)  # bytes of a token, a frame and a chunk
    text, audio, video = dataset.feature_sizes or (0, 0, 0)
    sizes = media if dataset.kind == "media" else (4 * text, 4 * video, 4 * audio)
    stated = sum(float(np.sum(length, dtype=float)) * size for length, size in zip(split.lengths, sizes, strict=True))
    stored = sum(path.stat().st_size for path in split.files.paths)
    if stated > _MOST_COMPRESSION * stored:
        raise UserError(
            f"{dataset.directory}: the metadata states {stated:.3g} bytes of arrays in split {split.name}, its files "
            f"have {stored:,} bytes. The directory is damaged or was edited; prepare the data again."
        )


def _check_features(dataset: Dataset, description: Description) -> None:
    if dataset.kind == "media":
        arrays = {
            "token_ids": Feature("int32", (-1,)),
            "faces": Feature("uint8", (-1, FACE_SIZE, FACE_SIZE, 3)),
            "mel": Feature("float32", (-1, MEL_BANDS, CHUNK_FRAMES)),
        }
    else:
        names = ("text", "audio", "video")
        arrays = {name: Feature("float32", (-1, size)) for name, size in zip(names, dataset.feature_sizes, strict=True)}
    expected = {"utterance_id": None, **arrays, "label": Feature("float32", (len(dataset.label_names),))}
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

"""Reads the JSON files of a dataset directory without running any code.

tensorflow-datasets would import the modules that `features.json` names, so that foreign records could run code.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, AliasPath, Field, PositiveInt, StringConstraints, model_validator
from typing_extensions import TypedDict

from mme2e_jax.constants import FORMAT_VERSION
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.json_schema import JsonObject, parse_json

T = TypeVar("T")


def _check_name(value: str) -> str:
    # A name with a separator would lead to files elsewhere.
    if not re.fullmatch(r"[A-Za-z0-9_]+", value):
        raise ValueError("expected letters, digits and _ in a name")
    return value


def _check_count(value: int | str) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise ValueError("expected records in every file")
    return int(value)


_Name = Annotated[str, AfterValidator(_check_name)]
# tensorflow-datasets writes integers of 64 bits as texts.
_Count = Annotated[int | str, AfterValidator(_check_count)]
_Length = Annotated[int, Field(ge=0, lt=2**62)]
_Size = int | Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,9}$")]


class _SplitInfo(JsonObject):
    name: _Name
    filepathTemplate: Literal["{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"]
    shardLengths: tuple[_Count, ...] = ()


class _DatasetInfo(JsonObject):
    """`dataset_info.json`."""

    name: _Name
    fileFormat: Literal["array_record"]
    splits: tuple[_SplitInfo, ...] = ()


class _Feature(JsonObject):
    dtype: str = Field("", validation_alias=AliasPath("tensor", "dtype"))
    encoding: str = Field("", validation_alias=AliasPath("tensor", "encoding"))
    shape: tuple[_Size, ...] = Field((), validation_alias=AliasPath("tensor", "shape", "dimensions"))


class _Features(JsonObject):
    """`features.json`."""

    features: dict[str, _Feature] = Field(validation_alias=AliasPath("featuresDict", "features"))


class SplitMetadata(JsonObject):
    """What `metadata.json` states about one split; lists have one entry per utterance."""

    utterance_ids: list[str]
    tokens: list[_Length]
    frames: list[_Length]
    chunks: list[_Length]
    positives: list[_Length]  # per label


class TokenizerMetadata(TypedDict, extra_items=Any):
    """The tokenizer that made the tokens."""

    vocab_size: PositiveInt
    sep_id: _Length


class Metadata(JsonObject, extra="allow"):
    """`metadata.json`."""

    dataset: str
    kind: str = "media"
    label_names: list[str]
    splits: dict[str, SplitMetadata]
    tokenizer: TokenizerMetadata | None = None  # of records of the kind "media"
    feature_sizes: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] | None = None  # of "features"
    features: dict[str, Any] | None = None  # of "features", as are the sizes
    # Of "media"; a run keeps them, and prediction reads clips by them.
    frame_interval_ms: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    face_choice: str | None = None
    face_size: PositiveInt | None = None
    sample_rate: PositiveInt | None = None
    mel: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_together(self) -> "Metadata":
        needed = (*PREPROCESSING.get(self.kind, ()), *(["tokenizer"] if self.kind == "media" else []))
        if missing := [key for key in needed if getattr(self, key, None) is None]:
            raise ValueError(f"{', '.join(missing)} is missing")
        for name, split in self.splits.items():
            count, labels = len(split.utterance_ids), len(self.label_names)
            if any(len(lengths) != count for lengths in (split.tokens, split.frames, split.chunks)):
                raise ValueError(f"split {name}: expected {count} lengths of each kind")
            if len(split.positives) != labels:
                raise ValueError(f"split {name}: expected the positives of {labels} labels, found {split.positives}")
        return self


# Settings of preparation that a model depends on, by kind of records.
PREPROCESSING = {
    "media": ("frame_interval_ms", "face_size", "face_choice", "sample_rate", "mel"),
    "features": ("kind", "feature_sizes", "features"),
}
_CLASSES = {
    f"tensorflow_datasets.core.features.{name}"
    for name in ("features_dict.FeaturesDict", "text_feature.Text", "tensor_feature.Tensor")
}
# Keys under which tensorflow-datasets looks for a class, in its present and former formats.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")


class Files(NamedTuple):
    """The files of one split, in stored order."""

    paths: tuple[Path, ...]
    records: tuple[int, ...]  # number of records in each file


class Feature(NamedTuple):
    """The stored format of an array."""

    dtype: str
    shape: tuple[int, ...]  # -1 where it varies


class Description(NamedTuple):
    """The content of the files next to the records."""

    metadata: Metadata
    features: Mapping[str, Feature | None]  # by name; None if it is not an array stored as bytes
    files: Mapping[str, Files]  # by split


def read_description(directory: Path) -> Description:
    """Reads the JSON files; raises `UserError` if one is missing, damaged, of another version or names foreign code."""
    version = _object(directory / "metadata.json").get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{directory} has records of format version {version}; this program reads version {FORMAT_VERSION}. "
            "Prepare the data again with the data_tools of this version. The embedded corpus is made again once you "
            "remove the directory."
        )
    foreign = sorted(set(_classes(_object(directory / "features.json"))) - _CLASSES)
    if foreign:
        raise UserError(
            f"{directory / 'features.json'} names code that no records of this program need: {', '.join(foreign)}. "
            "None of it was run. Prepare the data again yourself."
        )
    metadata = _parse(directory / "metadata.json", Metadata)
    info = _parse(directory / "dataset_info.json", _DatasetInfo)
    features = _parse(directory / "features.json", _Features)
    return Description(
        metadata,
        {name: _stored(feature) for name, feature in features.features.items()},
        {split.name: _files(directory, info.name, split) for split in info.splits},
    )


def _parse(path: Path, schema: type[T]) -> T:
    _object(path)
    try:
        return parse_json(schema, path.read_bytes())
    except (ValueError, OSError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> UserError:
    return UserError(f"{path} is damaged or was edited: {found[:200]}. Prepare the data again.")


def _object(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} holds no {path.name}. Prepare the data again.") from error
    except (ValueError, RecursionError, OSError) as error:
        raise _damaged(path, f"{error or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise _damaged(path, f"expected an object, found {type(value).__name__}")
    return value


def _classes(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (str(value[key]) for key in _CLASS_KEYS if key in value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _stored(feature: _Feature) -> Feature | None:
    return Feature(feature.dtype, tuple(map(int, feature.shape))) if feature.encoding == "bytes" else None


def _files(directory: Path, dataset: str, split: _SplitInfo) -> Files:
    stem, counts = directory / f"{dataset}-{split.name}.array_record", split.shardLengths
    return Files(tuple(Path(f"{stem}-{i:05d}") for i in range(len(counts))), tuple(map(int, counts)))

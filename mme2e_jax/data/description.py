"""Reads the JSON files of a dataset directory without running any code.

tensorflow-datasets could read the same files, but it imports the modules that `features.json` names, so that foreign
records could run code.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mme2e_jax.constants import FORMAT_VERSION
from mme2e_jax.errors import UserError

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"
_FORMAT = "array_record"
_NAME = re.compile(r"[A-Za-z0-9_]+")
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
    """The content of a dataset's JSON files."""

    metadata: Mapping[str, Any]
    features: Mapping[str, Feature | None]  # by name; None if not an array stored as bytes
    files: Mapping[str, Files]  # by split


def read_description(directory: Path) -> Description:
    """Reads `metadata.json`, `dataset_info.json` and `features.json`.

    Raises:
      UserError: if a file is missing, damaged, of another format version, or names foreign code.
    """
    metadata = _object(directory / "metadata.json")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{directory} has records of format version {metadata.get('format_version')}; this program reads "
            f"version {FORMAT_VERSION}. Prepare the data again with the data_tools of this version; records of the "
            "embedded corpus are made again once you remove the directory."
        )
    info, features = _object(directory / "dataset_info.json"), _object(directory / "features.json")
    foreign = sorted(set(_classes(features)) - _CLASSES)
    if foreign:
        raise UserError(
            f"{directory / 'features.json'} names code that no records of this program need: {', '.join(foreign)}. "
            "None of it was run. Prepare the data again yourself."
        )
    with reading(directory / "features.json"):
        stored = {name: _feature(entry) for name, entry in features["featuresDict"]["features"].items()}
    with reading(directory / "dataset_info.json"):
        files = dict(_files(directory, info))
    return Description(metadata, stored, files)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns errors from unexpected values into a `UserError` that names their file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(path, f"{type(error).__name__} {error}") from error


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
    """All class names, at any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (str(value[key]) for key in _CLASS_KEYS if key in value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _feature(entry: Mapping[str, Any]) -> Feature | None:
    tensor = entry.get("tensor")
    if tensor is None or tensor["encoding"] != "bytes":
        return None
    return Feature(str(tensor["dtype"]), tuple(int(size) for size in tensor["shape"].get("dimensions", ())))


def _files(directory: Path, info: Mapping[str, Any]) -> Iterator[tuple[str, Files]]:
    if info.get("fileFormat") != _FORMAT:
        raise ValueError(f"expected the file format {_FORMAT}, found {info.get('fileFormat')!r}")
    splits: Sequence[Mapping[str, Any]] = info.get("splits", ())
    for split in splits:
        # A separator in a name, or another template, could point to files elsewhere.
        for what in (info["name"], split["name"]):
            if not _NAME.fullmatch(what):
                raise ValueError(f"expected letters, digits and _ in a name, found {what!r}")
        if split["filepathTemplate"] != _TEMPLATE:
            raise ValueError(f"expected files named {_TEMPLATE}, found {split['filepathTemplate']!r}")
        records = tuple(int(count) for count in split.get("shardLengths", ()))
        if min(records, default=1) < 1:
            raise ValueError(f"expected records in every file, found {list(records)}")
        stem = directory / f"{info['name']}-{split['name']}.{_FORMAT}"
        yield split["name"], Files(tuple(Path(f"{stem}-{i:05d}") for i in range(len(records))), records)

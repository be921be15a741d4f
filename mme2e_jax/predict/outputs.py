"""Directories of predictions, and the table and page of many files."""

import csv
import hashlib
import io
import itertools
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mme2e_jax.predict.inputs import ClipFile
from mme2e_jax.predict.results import inert
from mme2e_jax.runtime.files import atomic_file, valid_unicode

TABLE, INDEX = "predictions.csv", "index.html"
_UNSAFE = re.compile(r"[^\w.\- ]")
_LONGEST = 60  # characters that are kept of a name with unsafe characters
_NOTES = 5  # most notes for each file in the index
# A transcript may be longer than the default of the library.
csv.field_size_limit(sys.maxsize)


class IndexRow(NamedTuple):
    """A file of the index page."""

    name: str
    link: str  # address of its page, or of its table if it has no page; empty if it was not predicted
    seconds: float | None  # length
    headline: str
    dominant: str
    notes: list[str]


def safe_name(clip: Path) -> str:
    """The name of a clip without its suffix and unsafe characters."""
    return _UNSAFE.sub("_", clip.stem).strip(".") or "clip"


def safe_path(name: str) -> Path:
    """A relative path for a file's path, with another one for each: the same if that is safe, else with a digest."""
    return Path(*(_safe_part(part) for part in PurePosixPath(name).parts if part != "/"))


def output_directory(wanted: Path, clip: Path) -> Path:
    """The directory for the predictions of a clip: `wanted`, or with a number if that holds those of another clip."""
    path = valid_unicode(str(clip.absolute()))
    for directory in itertools.chain([wanted], (wanted.with_name(f"{wanted.name}-{n}") for n in itertools.count(2))):
        # Predictions of earlier versions do not say where their clip is.
        if _stored(directory).get("path", path) == path:
            return directory
    raise AssertionError("the numbers do not end")


def is_finished(directory: Path, request: Mapping[str, Any]) -> bool:
    """Whether a directory holds all files of the predictions that `Prediction.write` stored with this request."""
    return _stored(directory).get("request") == request and (directory / TABLE).is_file()


def write_overview(out: Path, source: str, files: Sequence[ClipFile], failed: Mapping[str, str]) -> list[Path]:
    """Writes a table and a page of the files whose predictions are below `out`; at least one file has any.

    Args:
      out: directory of the two files.
      source: name of the input.
      files: all files, in their order.
      failed: why a file has no predictions, by its name.
    """
    with atomic_file(out / TABLE) as table:
        for row in _table_rows(out, files, failed):
            line = io.StringIO()
            csv.writer(line).writerow(row)
            table.write(valid_unicode(line.getvalue()).encode())
    # Imports jinja2.
    from mme2e_jax.html.page import stream

    with atomic_file(out / INDEX) as page:
        rows = (_index_row(out, file, failed.get(file.name)) for file in files)
        for text in stream("index", source=source, rows=rows, files=len(files), failed=len(failed)):
            page.write(valid_unicode(text).encode())
    return [out / TABLE, out / INDEX]


def _safe_part(part: str) -> str:
    safe = _UNSAFE.sub("_", part).strip(".")
    if safe == part and part not in (TABLE, INDEX):
        return part
    return f"{safe[:_LONGEST]}-{hashlib.sha256(os.fsencode(part)).hexdigest()[:8]}"


def _stored(directory: Path) -> dict[str, Any]:
    try:
        content = json.loads((directory / "predictions.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _table_rows(out: Path, files: Sequence[ClipFile], failed: Mapping[str, str]) -> Iterator[list[str]]:
    """The rows of the files' tables behind the files' names; a failed file has one row."""

    def rows_of(file: ClipFile) -> Iterator[list[str]]:
        with (output_directory(out / safe_path(file.name), file.path) / TABLE).open(
            encoding="utf-8", newline=""
        ) as table:
            yield from csv.reader(table)

    header = next(rows_of(next(file for file in files if file.name not in failed)))
    yield ["file", *header]
    for file in files:
        if file.name in failed:
            yield [inert(file.name), *[""] * (len(header) - 1), inert(failed[file.name])]
        else:
            yield from ([inert(file.name), *row] for row in itertools.islice(rows_of(file), 1, None))


def _index_row(out: Path, file: ClipFile, reason: str | None) -> IndexRow:
    if reason is not None:
        return IndexRow(file.name, "", None, "", "", [reason])
    directory = output_directory(out / safe_path(file.name), file.path)
    stored = _stored(directory)
    notes = dict.fromkeys(itertools.chain(stored["notes"], *(u["notes"] for u in stored["utterances"])))
    shown = [*itertools.islice(notes, _NOTES), *([f"And {len(notes) - _NOTES} more."] if len(notes) > _NOTES else [])]
    page = directory / "predictions.html"
    link = (page if page.is_file() else directory / TABLE).relative_to(out)
    address = urllib.parse.quote(link.as_posix())
    return IndexRow(file.name, address, stored["seconds"], stored["headline"], stored["dominant"], shown)

"""Defines the texts of a raw release, and finds its files."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from mme2e_jax.media.utterance import Finding, Media, Utterance
from mme2e_jax.pickles.plain_pickle import RefusedError

_LISTED = 8


class ReleaseError(ValueError):
    """A raw release that cannot be used; the message names what was expected and found."""


@dataclass
class Release:
    """The readable part of a raw release."""

    label_names: tuple[str, ...]  # names of the labels, in the order of `Utterance.label`
    # Utterances with usable texts, in the order to store them.
    utterances: list[Utterance] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)  # media files by `Utterance.media_key`
    findings: list[Finding] = field(default_factory=list)  # what was left out or repaired
    # Train, valid or test by utterance identifier; None if the release has no splits.
    splits: dict[str, str] | None = None


def files_in(directory: Path, pattern: str) -> list[Path]:
    """The files of a directory that match a pattern, sorted; none if the directory does not exist.

    Names with a leading `._` are left out: macOS stores resource forks in archives under such names.
    """
    return sorted(path for path in directory.glob(pattern) if path.is_file() and not path.name.startswith("._"))


def first_file(candidates: Iterable[Path]) -> Path | None:
    """The first candidate that is a file."""
    for path in candidates:
        # Tables may hold names that are too long for a file.
        with suppress(OSError):
            if path.is_file():
                return path
    return None


def read_text(path: Path) -> str:
    """The text of a file; invalid UTF-8 becomes U+FFFD."""
    return path.read_bytes().decode("utf-8-sig", errors="replace")


def numbered_rows(file: TextIO, table: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of their first line; `ReleaseError` names the line of invalid CSV."""
    lines: list[str] = []  # of the current row

    def read() -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    rows, first = csv.reader(read(), strict=True), 1
    try:
        for row in rows:
            if row:
                yield first, row
            first += len(lines)
            lines.clear()
    except csv.Error as error:
        # The open quotation mark is the last one of all, unless the error is another.
        opened = max((i for i, line in enumerate(lines) if '"' in line), default=0)
        raise ReleaseError(
            f"Table {table}, line {first + opened}: expected comma-separated values, found: {error}. Close each "
            "quotation mark, and double those within a cell."
        ) from error


def require_directory(raw: Path, expected: str) -> None:
    """Raises `ReleaseError`, which names the `expected` content, unless `raw` is a directory."""
    if not raw.is_dir():
        kind = "a file" if raw.exists() else "nothing"
        raise ReleaseError(f"Expected the directory {raw} with {expected}; found {kind} there.")


def require_parts(raw: Path, release: str, expected: str, parts: Mapping[str, bool], directory: str) -> None:
    """Raises `ReleaseError` if some of the named `parts` of the `release` are missing in `raw`.

    The message names the `expected` files and says that `raw` must be the `directory`.
    """
    if missing := [name for name, present in parts.items() if not present]:
        raise ReleaseError(
            f"Expected {release} in {raw}: {expected}. Missing: {', '.join(missing)}. Found there: {listing(raw)}. "
            f"Name the directory that holds {directory}."
        )


def listing(directory: Path) -> str:
    """The first names in a directory, for messages."""
    names = sorted(entry.name for entry in directory.iterdir())
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "") or "nothing"


@contextmanager
def pickle_errors(path: Path, content: str, expected: str) -> Iterator[None]:
    """Converts the errors of reading a pickle, which should hold `content` of `expected` types, to `ReleaseError`."""
    try:
        yield
    except RefusedError as error:
        raise ReleaseError(
            f"{path} asks for {error}, which no {content} needs. Nothing of it was run. Expected {expected}; get the "
            "file from its authors again."
        ) from error
    except (ValueError, LookupError, TypeError, OverflowError, EOFError, MemoryError) as error:
        raise ReleaseError(
            f"{path} is damaged or no pickle: {error or type(error).__name__}. Copy it again."
        ) from error

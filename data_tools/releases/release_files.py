"""Finds and reads the text files of a raw release."""

from collections.abc import Iterable
from pathlib import Path

from data_tools.releases.release import ReleaseError

_LISTED = 8


def files_in(directory: Path, pattern: str) -> list[Path]:
    """The files of a directory that match a pattern, sorted; none where there is no such directory.

    Names with a leading `._` are left out: resource forks that macOS leaves in archives.
    """
    return sorted(path for path in directory.glob(pattern) if path.is_file() and not path.name.startswith("._"))


def first_file(candidates: Iterable[Path]) -> Path | None:
    """The first candidate that is a file."""
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name that is longer than any file's, as tables may hold it.
        return False


def read_text(path: Path) -> str:
    """The text of a file; what is no UTF-8 becomes U+FFFD."""
    return path.read_bytes().decode("utf-8-sig", errors="replace")


def require_directory(raw: Path, expected: str) -> None:
    """Raises `ReleaseError`, which says what is `expected` in it, unless `raw` is a directory."""
    if not raw.is_dir():
        kind = "a file" if raw.exists() else "nothing"
        raise ReleaseError(f"Expected the directory {raw} with {expected}; found {kind} there.")


def listing(directory: Path) -> str:
    """The first names in a directory, for messages."""
    names = sorted(entry.name for entry in directory.iterdir())
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "") or "nothing"

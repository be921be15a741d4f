"""Files and directories that appear complete or not at all."""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mme2e_jax.errors import UserError

_SURROGATES = re.compile("[\ud800-\udfff]")


class OutputExistsError(ValueError):
    """The output directory already holds files that must not be overwritten."""


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Converts errors of disks and files to `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" of {error.filename}" if error.filename else ""
            raise UserError(f"No space is left on the disk{where}. Free some space and repeat the command.") from error
        if not error.filename:
            raise
        raise UserError(
            f"{error.strerror or type(error).__name__}: {error.filename}. Check the path, and who may read "
            "and write there."
        ) from error


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file that replaces `path` when the block ends; the directory of `path` exists.

    When the block raises, `path` stays as it was. Of several processes that write it, the last one to finish wins.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # Errors of writing, such as that of a full disk, name no file.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8, atomically; parts that are not Unicode become U+FFFD."""
    with atomic_file(path) as file:
        file.write(valid_unicode(text).encode())


def write_json(path: Path, content: Any, *, indent: int | None = 2, ensure_ascii: bool = True) -> None:
    """Writes JSON with a final newline, atomically; options as for `json.dumps`, but ValueError for NaN or infinity."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False) + "\n")


def valid_unicode(text: str) -> str:
    """Text with U+FFFD for bytes of names and arguments that are not UTF-8, which Python keeps as surrogates."""
    return _SURROGATES.sub("\ufffd", text)


def require_utf8(path: Path) -> Path:
    """The absolute path; raises `UserError` if it is not UTF-8."""
    path = path.absolute()
    if str(path) != valid_unicode(str(path)):
        raise UserError(
            f"Expected a path in UTF-8, found {path}. The libraries that store checkpoints and records take no other: "
            "rename the directory, or choose another."
        )
    return path


def write_figure(path: Path, figure: Any, dpi: int) -> None:
    """Writes a matplotlib figure as PNG, atomically."""
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


def require_free(directory: Path) -> None:
    """Raises `OutputExistsError` unless `directory` is absent or an empty directory."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise OutputExistsError(
            f"Expected {directory} to be absent or an empty directory, found a file. Choose another output directory."
        )
    found = sorted(entry.name for entry in directory.iterdir())
    if found:
        listing = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise OutputExistsError(
            f"Expected {directory} to be absent or empty, found {len(found)} entries ({listing}). "
            "Remove the directory or choose another output directory."
        )


@contextlib.contextmanager
def finished_directory(directory: Path) -> Iterator[Path]:
    """Yields a temporary directory that becomes `directory` when the block ends, or is removed when it raises.

    Raises `OutputExistsError` if `directory` exists and is not empty, before or after the block.
    """
    require_free(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=_prefix(directory), dir=directory.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes private directories
        require_free(directory)
        unfinished.replace(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def remove_unfinished(directory: Path) -> None:
    """Removes temporary directories of killed processes. No process may be writing `directory`."""
    for path in directory.parent.iterdir():
        if path.name.startswith(_prefix(directory)):
            shutil.rmtree(path, ignore_errors=True)


def _prefix(directory: Path) -> str:
    return f".{directory.name}.unfinished-"

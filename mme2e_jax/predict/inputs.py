"""Finds the clips that an input names, and their transcripts."""

import glob
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.media.utterance import SOUND_SUFFIXES
from mme2e_jax.predict.cues import SUFFIXES, read_text

LIST_SUFFIX = ".txt"
_SOUND = (*SOUND_SUFFIXES, ".aac", ".m4a", ".opus", ".wma")
_VIDEO = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"),
    *(".ts", ".vob", ".webm", ".wmv"),
)


class ClipFile(NamedTuple):
    """A file to predict."""

    path: Path  # path of the file
    name: str  # path relative to the input's folder, with "/"; for a single clip, its name
    root: Path | None = None  # folder that links must not leave; None if the user named the file
    problem: str = ""  # why it is not to be opened


class Clips(NamedTuple):
    """The files of an input."""

    files: list[ClipFile]
    many: bool  # whether the input is a folder, a pattern or a list, however few files it has


def find_clips(given: str) -> Clips:
    """Returns the files of a folder with its subfolders, a glob pattern, or a `.txt` file with a path per line.

    Of a folder, files with the suffix of video or sound; of a pattern, all files but transcripts. Paths of a list are
    relative to its folder. Raises `UserError` if there are none, or the list cannot be read. Any other input is one
    clip, which need not exist.
    """
    path = Path(given)
    if path.is_dir():
        files = [*_of_folder(path)]
    elif path.is_file() and path.suffix.lower() == LIST_SUFFIX:
        files = [*_of_list(path)]
    elif not path.exists() and glob.has_magic(given):
        files = [*_of_pattern(given)]
    else:
        return Clips([ClipFile(path, path.name)], many=False)
    if not files:
        raise UserError(f"Expected video or sound files in {given}, found none.")
    return Clips(files, many=True)


def find_transcript(file: ClipFile) -> Path | None:
    """The transcript next to a clip: a file of the same name with a suffix of `cues.SUFFIXES`."""
    for suffix in SUFFIXES:
        path = Path(f"{os.path.splitext(file.path)[0]}{suffix}")
        # Not Path.is_file: lists may hold names that no file can have.
        if os.path.isfile(path) and _stays_inside(path, file.root):
            return path
    return None


def read_words(path: Path) -> str | None:
    """The words of a `.txt` transcript without times; None if it has times. Raises `UserError` as `read_text`."""
    if path.suffix.lower() != ".txt" or "___" in (text := read_text(path)):
        return None
    return text.strip()


def _of_folder(folder: Path) -> Iterator[ClipFile]:
    unread: list[OSError] = []
    for directory, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in (*_SOUND, *_VIDEO) and not name.startswith("."):
                yield _inside(Path(directory, name), folder)
    for error in unread:
        path = Path(error.filename)
        yield ClipFile(path, _name(path, folder), problem=f"The folder cannot be read: {error.strerror}.")


def _of_pattern(pattern: str) -> Iterator[ClipFile]:
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if path.is_file() and path.suffix.lower() not in SUFFIXES:
            yield _inside(path, root)


def _of_list(path: Path) -> Iterator[ClipFile]:
    # Names need not be UTF-8.
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for line in dict.fromkeys(os.fsdecode(line.removesuffix(b"\r")) for line in lines):
        if line.strip():
            listed = path.parent / line
            yield ClipFile(listed, _name(listed, path.parent))


def _inside(path: Path, root: Path) -> ClipFile:
    problem = "" if _stays_inside(path, root) else f"It is a link that leads out of {root}."
    return ClipFile(path, _name(path, root), root, problem)


def _stays_inside(path: Path, root: Path | None) -> bool:
    return root is None or path.resolve().is_relative_to(root.resolve())


def _name(path: Path, root: Path) -> str:
    relative = Path(os.path.relpath(path, root))
    return (path.absolute() if relative.parts[:1] == ("..",) else relative).as_posix()

"""Reads records by their index and says of each that cannot be read why."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader

from mme2e_jax.data.description import Files
from mme2e_jax.errors import UserError

_OPEN_AT_ONCE = 16
# What the library raises for files and records that are not whole, or not there.
_LIBRARY_ERRORS = (RuntimeError, ValueError, IndexError, OSError)


class Reader:
    """The records of one split; safe to use from several threads."""

    def __init__(self, files: Files):
        """Args: files: of the split, looked through by `check_files` before."""
        # With their lengths given, the library opens no file before one of its records is asked for.
        spans = [f"{path}[0:{count}]" for path, count in zip(*files, strict=True)]
        self._source = ArrayRecordDataSource(spans)

    def read(self, examples: Sequence[int]) -> tuple[dict[int, bytes], dict[int, str]]:
        """Reads records by their index in the split.

        Returns:
          The records that can be read, and of each other one the reason, by index.
        """
        if not examples:
            # Which the library refuses to read; a device group may have nothing but padding.
            return {}, {}
        try:
            return dict(zip(examples, self._source.__getitems__(list(examples)), strict=True)), {}
        except _LIBRARY_ERRORS:
            # One of them; the library does not say which.
            return self._read_singly(examples)

    def _read_singly(self, examples: Sequence[int]) -> tuple[dict[int, bytes], dict[int, str]]:
        records: dict[int, bytes] = {}
        problems: dict[int, str] = {}
        for example in examples:
            try:
                records[example] = self._source[example]
            except _LIBRARY_ERRORS as error:
                problems[example] = f"the file is damaged there ({_first_sentence(error)})"
        return records, problems


def check_files(splits: Iterable[tuple[str, Files, Sequence[str]]]) -> None:
    """Opens every file and counts its records by the file's own index; reads none of them.

    Args:
      splits: of each the name, the files, and the ids of its utterances in stored order.

    Raises:
      UserError: naming every file that is missing, cut off, damaged in its index or of another length, and the
        utterances in it.
    """
    problems = []
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        for split, files, ids in splits:
            first = 0
            for path, count, problem in zip(*files, pool.map(_problem_of, *files), strict=True):
                if problem:
                    last = first + count - 1
                    problems.append(f"{path} ({count} utterances of {split}, {ids[first]} to {ids[last]}): {problem}.")
                first += count
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UserError(
            f"Records cannot be read:\n{listed}\nCopy the files once more, or prepare the data again. "
            "(config.data.skip_bad is for single utterances.)"
        )


def _problem_of(path: Path, count: int) -> str:
    if not path.is_file():
        return "no such file"
    if not path.stat().st_size:
        return "the file is empty"
    try:
        reader = ArrayRecordReader(str(path))
        found = reader.num_records()
        reader.close()
    except _LIBRARY_ERRORS as error:
        return f"cut off or damaged at {path.stat().st_size:,} bytes ({_first_sentence(error)})"
    return "" if found == count else f"expected {count} records, found {found}"


def _first_sentence(error: Exception) -> str:
    """The library's messages go on with where it was in its own code and in the file."""
    return str(error).split(";")[0].split("\n")[0].strip() or "the library gives no reason"

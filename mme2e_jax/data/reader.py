"""Reads records by index and reports those that cannot be read."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader

from mme2e_jax.data.description import Files
from mme2e_jax.errors import UserError

_OPEN_AT_ONCE = 16
# The library raises these for damaged or missing files and records.
_LIBRARY_ERRORS = (RuntimeError, ValueError, IndexError, OSError)


class RecordReader:
    """Reads the records of one split; thread-safe."""

    def __init__(self, files: Files):
        """Args: files: files of the split, already checked by `check_files`."""
        # Given the number of records, the library opens a file only when one of its records is read.
        spans = [f"{path}[0:{count}]" for path, count in zip(*files, strict=True)]
        self._source = ArrayRecordDataSource(spans)

    def read(self, examples: Sequence[int]) -> tuple[dict[int, bytes], dict[int, str]]:
        """Reads records by index in the split; returns those that can be read, and the problem with each other one."""
        if not examples:
            # The library refuses an empty list; a device group may consist of padding.
            return {}, {}
        try:
            return dict(zip(examples, self._source.__getitems__(list(examples)), strict=True)), {}
        except _LIBRARY_ERRORS:
            # The library does not report which record failed.
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
    """Opens every file and checks the number of records in its index; reads no record.

    `splits` are the name, the files and the utterance ids of each split, in stored order. Raises `UserError` with all
    files, and their utterances, that are missing, truncated, damaged or of another length.
    """
    problems = []
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        for split, files, ids in splits:
            first = 0
            for path, count, problem in zip(*files, pool.map(_file_problem, *files), strict=True):
                if problem:
                    last = first + count - 1
                    problems.append(f"{path} ({count} utterances of {split}, {ids[first]} to {ids[last]}): {problem}.")
                first += count
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise UserError(
            f"Records cannot be read:\n{listed}\nCopy the files again, or prepare the data again. "
            "(config.data.skip_bad is for single utterances.)"
        )


def _file_problem(path: Path, count: int) -> str:
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
    # The library's messages continue with positions in its code and in the file.
    return str(error).split(";")[0].split("\n")[0].strip() or "the library gives no reason"

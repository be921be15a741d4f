"""Damaged files are read, refused or reported; and crashes, hangs and memory are noticed."""

import contextlib
import itertools
import os
import random
import signal
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.mutations import members, mutated, zipped

# Those in Python alone, whose mistakes end no process.
IN_PYTHON = ("meta", "features", "pt", "npz")
OTHERS = ("mp4", "mkv", "avi", "ts", "wav", "flac", "ogg", "mp3", "jpg", "albert", "tokenizer", "exported")
OTHERS += ("checkpoint", "records", "shared")


def test_every_reader_is_fuzzed() -> None:
    from benchmarks.fuzz_readers import READERS

    assert set(READERS) == {*IN_PYTHON, *OTHERS}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_any_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    from benchmarks.fuzz_readers import READERS, REFUSALS

    reader, sound, read = READERS[name], tmp_path / "sound", 0
    sound.mkdir()
    reader.make(sound)
    reader.read(sound)
    for directory in itertools.islice(fuzz.mutations(reader, sound, tmp_path, name, seed=0), 500):
        with contextlib.suppress(*REFUSALS):
            reader.read(directory)
            read += 1

    assert 0 < read < 500


@pytest.fixture(scope="module")
def worker():
    with fuzz.Worker() as worker:
        yield worker


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_process_reads_or_refuses_any_damaged_file(name: str, tmp_path: Path, worker: fuzz.Worker) -> None:
    outcome = fuzz.fuzz(name, worker, tmp_path, seed=0, count=500)

    assert outcome.failures == []
    assert outcome.mutations == 500


def _crash(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang(_: Path) -> None:
    while True:
        pass


def _fill_memory(_: Path) -> None:
    assert bytearray(200 << 20)


def _raise(_: Path) -> None:
    raise LookupError("found nothing")


def _read(_: Path) -> None:
    pass


def test_what_goes_wrong_is_attributed_to_the_file(tmp_path: Path) -> None:
    with fuzz.Worker(seconds=1, megabytes=100, preload=()) as worker:
        assert worker.read(_crash, tmp_path)[:2] == ("crash", "SIGSEGV")
        assert worker.read(_hang, tmp_path)[:2] == ("hang", "more than 1 s of processor time")
        assert worker.read(_fill_memory, tmp_path)[0] == "memory"
        kind, detail, _ = worker.read(_raise, tmp_path)
        assert (kind, detail.splitlines()[-1]) == ("error", "LookupError: found nothing")
        assert worker.read(_read, tmp_path)[:2] == ("read", "")


def test_the_same_seed_gives_the_same_damages() -> None:
    content = zipped([("a", bytes(range(256)) * 4), ("b", b'{"shape": [3, 4]}')])

    def damages(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [mutated(rng, content) for _ in range(100)]

    found = damages(0)
    assert found == damages(0) != damages(1)
    assert len({damaged for damaged in found if damaged != content}) > 75
    assert any(map(_has_repeated_names, found)), "no zip with two members of one name"


def _has_repeated_names(content: bytes) -> bool:
    with contextlib.suppress(Exception):
        names = [name for name, _ in members(content)]
        return len(names) > len(set(names))
    return False

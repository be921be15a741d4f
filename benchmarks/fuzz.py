"""Reads randomly damaged files and checks that each is read, refused or reported.

    python -m benchmarks.fuzz --seconds=600 --json=FILE [--readers=mp4,pt] [--seed=0] [--keep=DIR]

Sound files of every kind (`benchmarks/fuzz_readers.py`) are damaged (`benchmarks/mutations.py`) and read in worker
processes. Reading must end within 10 s of processor time, take less than 1 GB of memory, and raise nothing but errors
for users. A file that fails is kept in DIR; `READERS[NAME].read(DIRECTORY)` reads it again.
"""

import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.mutations import mutated
from data_tools.releases.release import ReleaseError
from mme2e_jax.errors import UserError

SECONDS = 10  # of processor time for one file
MEGABYTES = 1024  # that reading one file may add
# Seconds until a reader that waits counts as hanging: far more than the processor time, as the machine may be busy.
_WAIT = 300
_ROOM = 4 * MEGABYTES  # megabytes that the system grants; what takes more fails early and harms no other process
_PRELOAD = ("benchmarks.fuzz_readers",)


@dataclass
class Failure:
    """A file that was not handled as it must be."""

    reader: str
    number: int  # of the mutation, from 0
    kind: str  # crash, hang, memory or error
    detail: str  # end of the traceback, signal, or megabytes


@dataclass
class Outcome:
    """What a reader did with damaged files."""

    mutations: int = 0
    read: int = 0  # files that were read, perhaps with findings
    seconds: float = 0.0
    megabytes: int = 0  # the most that reading one file added
    failures: list[Failure] = field(default_factory=list)


class Worker:
    """Reads files in another process, with limits of time and memory; a context manager."""

    def __init__(self, seconds: int = SECONDS, megabytes: int = MEGABYTES, preload: Sequence[str] = _PRELOAD):
        """Sets the limits; `preload` are modules that are imported once for all processes."""
        self._limits = seconds, megabytes
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._process: Any = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, read: Callable[[Path], object], directory: Path) -> tuple[str, str, int]:
        """Kind of the result (read, refused, or that of a failure), its detail, and megabytes."""
        if self._process is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(theirs, *self._limits), daemon=True)
            self._process.start()
            theirs.close()
        self._pipe.send((read, directory))
        try:
            if self._pipe.poll(_WAIT):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            number = -self._process.exitcode
            self._end()
            if number == signal.SIGXCPU:
                return "hang", f"more than {self._limits[0]} s of processor time", 0
            return "crash", signal.Signals(number).name if number > 0 else f"exit status {-number}", 0
        self._end()
        return "hang", f"no result after {_WAIT} s", 0

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Any, seconds: int, megabytes: int) -> None:
    """Reads directories until the other end of the pipe is closed."""
    with Path(os.devnull).open("wb") as nowhere:
        # Libraries in C report damage here, and the program warns.
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    while True:
        try:
            read, directory = pipe.recv()
        except EOFError:
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(
            resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime) + seconds, resource.RLIM_INFINITY)
        )
        resource.setrlimit(resource.RLIMIT_AS, ((_status("VmSize") + _ROOM) << 20, most))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _status("VmRSS")
        kind, detail = "read", ""
        try:
            read(directory)
        except (UserError, ReleaseError) as error:
            kind, detail = "refused", str(error)
        except BaseException:  # pyo3's panics are no Exception
            kind, detail = "error", traceback.format_exc()
        added = _status("VmHWM") - before
        if kind in ("read", "refused") and added > megabytes:
            kind, detail = "memory", f"{added} MB"
        pipe.send((kind, detail, added))


def _status(name: str) -> int:
    """Megabytes that the system states for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) >> 10


def mutations(reader: Any, sound: Path, scratch: Path, name: str, seed: int) -> Iterator[Path]:
    """Damages one file of a copy of the directory `sound` after the other, without end."""
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file())
    directory = scratch / name
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(sound, directory)
    number = 0
    while True:
        rng = random.Random(f"{seed} {name} {number}")
        file = rng.choice(files)
        (directory / file).write_bytes(mutated(rng, (sound / file).read_bytes()))
        if reader.seal is not None and rng.random() < 0.5:
            reader.seal(directory)
            yield directory
            shutil.rmtree(directory)
            shutil.copytree(sound, directory)
        else:
            yield directory
            shutil.copyfile(sound / file, directory / file)
        number += 1


def fuzz(
    name: str, worker: Worker, scratch: Path, *, seed: int, count: int = sys.maxsize, seconds: float = math.inf,
    keep: Path | None = None,
) -> Outcome:  # fmt: skip
    """Lets a reader read damaged files.

    Args:
      name: name in `fuzz_readers.READERS`.
      worker: process that reads.
      scratch: directory for the files.
      seed: seed of the damages.
      count: number of damages.
      seconds: time after which no other file is damaged.
      keep: directory that gets a copy of each file that fails; or None.
    """
    from benchmarks.fuzz_readers import READERS

    reader, sound, outcome = READERS[name], scratch / f"{name}-sound", Outcome()
    if not sound.exists():
        sound.mkdir(parents=True)
        reader.make(sound)
    kind, detail, _ = worker.read(reader.read, sound)
    if kind != "read":
        raise RuntimeError(f"{name}: the sound files are not read: {kind} {detail}")
    start = time.monotonic()
    for number, directory in enumerate(mutations(reader, sound, scratch, name, seed)):
        outcome.seconds = time.monotonic() - start
        if number >= count or outcome.seconds >= seconds:
            return outcome
        kind, detail, megabytes = worker.read(reader.read, directory)
        outcome.mutations += 1
        outcome.read += kind == "read"
        outcome.megabytes = max(outcome.megabytes, megabytes)
        if kind not in ("read", "refused"):
            outcome.failures.append(Failure(name, number, kind, detail))
            if keep is not None:
                shutil.copytree(directory, keep / f"{name}-{number}", dirs_exist_ok=True)
    raise AssertionError("mutations do not end")


def main(argv: list[str]) -> None:
    """Fuzzes readers in turns and prints a table."""
    del argv
    from benchmarks.fuzz_readers import READERS

    names = flags.FLAGS.readers or list(READERS)
    keep = Path(flags.FLAGS.keep) if flags.FLAGS.keep else None
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as scratch, Worker() as worker:
        for name in names:
            seconds = flags.FLAGS.seconds / len(names)
            outcomes[name] = fuzz(name, worker, Path(scratch), seed=flags.FLAGS.seed, seconds=seconds, keep=keep)
            found = Counter(f"{f.kind}: {f.detail.strip().splitlines()[-1][:160]}" for f in outcomes[name].failures)
            o = outcomes[name]
            print(f"{name}: {o.mutations} damaged files, {o.read} read, at most {o.megabytes} MB", flush=True)
            for what, times in found.items():
                print(f"  {times} x {what}", flush=True)
    if flags.FLAGS.json:
        Path(flags.FLAGS.json).write_text(json.dumps({k: asdict(o) for k, o in outcomes.items()}, indent=2) + "\n")
    if any(outcome.failures for outcome in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    flags.DEFINE_integer("seconds", 600, "Seconds for all readers together.", lower_bound=1)
    flags.DEFINE_list("readers", None, "Readers to fuzz, names of READERS; default: all.")
    flags.DEFINE_integer("seed", 0, "Seed of the damages.")
    flags.DEFINE_string("json", None, "Also write the figures to this file.")
    flags.DEFINE_string("keep", None, "Directory that gets each file that fails.")
    app.run(main)

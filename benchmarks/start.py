"""Measures the README's first command, cold and with compiled programs in the cache, and an evaluation of its run.

    python -m benchmarks.start --json=FILE
    python -m benchmarks.start --override=optim.epochs=2      (a quick check)

Each command is a process of `launch.py` in an empty directory, so that the corpus is generated and prepared each time.
The first has an empty cache of compiled programs; the others use what it leaves. Phases are read from the output:

    start-up     to the first line
    corpus       to the first line of training: generating and preparing
    compilation  time that training waits for programs
    training     the rest of it
    report       evaluation and report at the end

Memory is the largest sum over the processes of a command of their resident memory, shared pages divided among them, and
the peak of the largest process (Linux). CPU seconds are those of all its processes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from absl import app, flags
from rich.console import Console
from rich.table import Table

_LAUNCHER = Path(__file__).absolute().parent.parent / "launch.py"
_SAMPLING_S = 0.5
PHASES = ("start-up", "corpus", "compilation", "training", "report")


def main(argv: list[str]) -> None:
    """Runs the commands and prints the table."""
    del argv
    config = f"--config={_LAUNCHER.parent / 'configs' / flags.FLAGS.config}.py"
    train = [config, "--workdir=run", *(f"--config.{override}" for override in flags.FLAGS.override)]
    with tempfile.TemporaryDirectory(prefix="mme2e-start-") as scratch:
        cold, warm = Path(scratch) / "cold", Path(scratch) / "warm"
        rows = {
            "first command, cold": measure(train, cold, Path(scratch) / "xla"),
            "the same, warm": measure(train, warm, Path(scratch) / "xla"),
            "--mode=evaluate, warm": measure(["--mode=evaluate", "--workdir=run"], warm, Path(scratch) / "xla"),
        }
    columns = ("seconds", "CPU seconds", "memory MB", "process MB", *PHASES)
    table = Table(title=f"{flags.FLAGS.config} on {os.cpu_count()} cores")
    for heading in ("command", *columns):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.0f}" if column in row else "" for column in columns))
    Console(width=140).print(table)
    if flags.FLAGS.json:
        Path(flags.FLAGS.json).write_text(json.dumps(rows, indent=2) + "\n")


def measure(arguments: Sequence[str], directory: Path, cache: Path) -> dict[str, float]:
    """Runs the launcher in a directory; returns seconds, CPU seconds, memory and phases.

    `cache` is the directory of compiled programs. Raises `SystemExit` with the output if the command fails.
    """
    directory.mkdir(exist_ok=True)
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [sys.executable, "-u", str(_LAUNCHER), *arguments],
        cwd=directory,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = {"memory MB": 0.0, "process MB": 0.0}
    sampler = threading.Thread(target=_sample, args=(process, peak))
    sampler.start()
    assert process.stdout
    lines = _timed(process.stdout, start)
    if process.wait():
        raise SystemExit("".join(line for _, line in lines))
    sampler.join()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "CPU seconds": used} | peak | phases(lines, seconds)


def _timed(output: IO[str], start: float) -> list[tuple[float, str]]:
    return [(time.perf_counter() - start, line) for line in output]


def phases(lines: Sequence[tuple[float, str]], seconds: float) -> dict[str, float]:
    """Seconds of each of `PHASES`, or nothing for a command that does not train.

    Args:
      lines: output lines of a command, with the seconds from its start.
      seconds: its duration.
    """
    for at, line in lines:
        if found := re.match(r"(\d+) s of training: .* ([\d.]+)% compilation", line):
            training = float(found[1])
            compilation = training * float(found[2]) / 100
            started = at - training
            parts = (lines[0][0], started - lines[0][0], compilation, training - compilation, seconds - at)
            return dict(zip(PHASES, parts, strict=True))
    return {}


def _sample(process: subprocess.Popen, peak: dict[str, float]) -> None:
    while process.poll() is None:
        found = [_memory_mb(number) for number in _family(process.pid)]
        peak["memory MB"] = max(peak["memory MB"], sum(shared for shared, _ in found))
        peak["process MB"] = max(peak["process MB"], *(resident for _, resident in found))
        time.sleep(_SAMPLING_S)


def _family(process: int) -> list[int]:
    """A process and its descendants."""
    found = [process]
    for number in found:
        # Each thread has its own children, and may end while they are listed.
        for path in Path(f"/proc/{number}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:
                continue
    return found


def _memory_mb(process: int) -> tuple[float, float]:
    """Memory of a process now, with its share of shared pages, and resident; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
    return int(kilobytes["Pss"]) / 1024, int(kilobytes["Rss"]) / 1024


if __name__ == "__main__":
    flags.DEFINE_string("config", "mini_sparse", "Config in configs/, without .py.")
    flags.DEFINE_multi_string("override", [], "Config override, for example optim.epochs=2.")
    flags.DEFINE_string("json", None, "Also write the rows to this file.")
    app.run(main)

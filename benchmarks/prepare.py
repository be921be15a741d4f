"""Measures speed and memory of preparation.

    python -m benchmarks.prepare --json=FILE
    python -m benchmarks.prepare --videos=4 --seconds=8 --rounds=1      (a quick check)

Generates the embedded corpus with long videos (`benchmarks.long_videos`; kept with `--release=DIR`), and prepares it
with one process and with two in turns, so that other load on the machine affects both. Figures are medians over rounds,
the ratio is the median of the rounds' ratios, memory is the peak of any process (Linux). The workers of the runs with
one process time decode, faces and mel themselves. The process that starts them writes the records and does nothing else
during that time. The rest is start-up, files between the processes, and waiting.

The projection to CMU-MOSEI assumes all 65.9 hours of video that the release states, the cost of a second of this
corpus, the extraction speed per process of two concurrent processes, and one process that writes.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags, logging
from rich.table import Table

from benchmarks.long_videos import HEIGHT, Sizes, make_long_videos
from data_tools.preparation.settings import Settings
from data_tools.prepare import TIMED_WORK, prepare
from data_tools.records.report import Report
from mme2e_jax.runtime.console import PlainConsole

MOSEI_HOURS = 65.9
MOSEI_CORES = 16
_SAMPLING_S = 0.2


def main(argv: list[str]) -> None:
    """Measures and prints the tables."""
    del argv
    values = flags.FLAGS
    # Every opening of records logs a line.
    logging.set_verbosity(logging.WARNING)
    console = PlainConsole(width=100)
    sizes = Sizes(values.videos, values.seconds)
    with tempfile.TemporaryDirectory(prefix="mme2e-benchmark-") as scratch:
        raw = Path(values.release or Path(scratch) / "release")
        if not raw.exists():
            console.print(f"generating {sizes.videos} videos of {sizes.seconds} s ...")
            make_long_videos(raw, sizes, os.cpu_count() or 1)
        runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for place in range(values.rounds):
            for processes, rows in runs.items():
                rows.append(_run(raw, Path(scratch) / f"records-{place}-{processes}", processes))
                console.print(f"round {place + 1}, {processes} processes: {_clock(rows[-1]):.1f} s")
    result = figures(runs, sizes)
    _print(console, result)
    if values.json:
        Path(values.json).write_text(json.dumps(result, indent=2) + "\n")


def _run(raw: Path, out: Path, processes: int) -> dict[str, float]:
    """Prepares the release once; returns seconds by kind of work, frames, and peak memory in MB."""
    with _peak_memory() as peak:
        report = prepare(raw, out, Settings(), processes=processes, console=PlainConsole(file=StringIO()))
    return {**report.seconds, "frames": _frames(out, report), **{f"{who}_mb": mb for who, mb in peak.items()}}


def _frames(records: Path, report: Report) -> int:
    metadata: Any = tfds.builder_from_directory(records).info.metadata
    counts = metadata["splits"].values()
    assert sum(split["utterances"] for split in counts) == len(report.kept)
    return sum(sum(split["frames"]) for split in counts)


@contextmanager
def _peak_memory() -> Iterator[dict[str, float]]:
    """Peak memory in MB of this process (`main`) and of its children (`worker`), complete when the block ends."""
    peak = {"main": 0.0, "worker": 0.0}
    stop = threading.Event()

    def sample() -> None:
        while True:
            stopping = stop.wait(_SAMPLING_S)
            peak["main"] = max(peak["main"], _high_water_mb("self"))
            peak["worker"] = max([peak["worker"], *map(_high_water_mb, _children())])
            if stopping:
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _children() -> list[str]:
    # Each thread has its own children, and may end while they are listed.
    found: list[str] = []
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found += path.read_text().split()
        except OSError:
            continue
    return found


def _high_water_mb(process: str) -> float:
    """Peak memory of a process according to the kernel; 0 for a process that has ended."""
    # Not getrusage: a process inherits its maximum from its parent.
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _clock(run: dict[str, float]) -> float:
    return run["extracting"] + run["writing"]


def figures(runs: dict[int, list[dict[str, float]]], sizes: Sizes) -> dict[str, Any]:
    """Computes the figures from the runs with one and two processes.

    Args:
      runs: results by number of processes, equally many each: seconds of `decode`, `faces`, `features`, `extracting`
        and `writing`, `frames`, and the peak memory `main_mb` and `worker_mb`.
      sizes: size of the corpus.

    Returns:
      Figures by name. Seconds are for the whole corpus with one process.
    """
    video = sizes.videos * sizes.seconds

    def median(processes: int, name: str) -> float:
        return float(np.median([run[name] for run in runs[processes]]))

    alone = {name: median(1, name) for name in (*TIMED_WORK, "writing", "extracting")}
    split = {"decode": alone["decode"], "faces": alone["faces"], "mel": alone["features"], "write": alone["writing"]}
    clock = {processes: [_clock(run) for run in rows] for processes, rows in runs.items()}
    whole = float(np.median(clock[1]))
    mosei = 3600 * MOSEI_HOURS
    core_seconds = 2 * median(2, "extracting") / video
    hours = (mosei * core_seconds / MOSEI_CORES + mosei * median(2, "writing") / video) / 3600
    return {
        "videos": sizes.videos,
        "seconds": sizes.seconds,
        "rounds": len(runs[1]),
        "video_seconds_per_second_per_core": video / whole,
        "split_seconds": split | {"other": whole - sum(split.values())},
        "face_ms_per_frame": 1000 * alone["faces"] / median(1, "frames"),
        "view_pixels": HEIGHT,
        "clock_seconds": {str(processes): values for processes, values in clock.items()},
        "ratio_two_to_one": float(np.median(np.divide(clock[1], clock[2]))),
        "peak_mb": {who: max(run[f"{who}_mb"] for rows in runs.values() for run in rows) for who in ("worker", "main")},
        "mosei_hours_on_16_cores": hours,
    }


def _print(console: PlainConsole, result: dict[str, Any]) -> None:
    video = result["videos"] * result["seconds"]
    whole = sum(result["split_seconds"].values())
    table = Table(title=f"{video} s of video, one process, median of {result['rounds']}")
    for heading in ("work", "seconds", "share", "ms per second of video"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for work, seconds in result["split_seconds"].items():
        table.add_row(work, f"{seconds:.1f}", f"{seconds / whole:.1%}", f"{1000 * seconds / video:.1f}")
    console.print(table)
    console.print(
        f"{result['video_seconds_per_second_per_core']:.1f} seconds of video per second on one core. Faces: "
        f"{result['face_ms_per_frame']:.1f} ms per frame of {result['view_pixels']} x {result['view_pixels']}. "
        f"Two processes are {result['ratio_two_to_one']:.2f} times as fast as one. Peak memory: worker "
        f"{result['peak_mb']['worker']:.0f} MB, main process {result['peak_mb']['main']:.0f} MB. All of CMU-MOSEI "
        f"({MOSEI_HOURS} hours of video) on {MOSEI_CORES} cores: {result['mosei_hours_on_16_cores']:.1f} hours."
    )


if __name__ == "__main__":
    flags.DEFINE_integer("videos", 60, "Number of videos.", lower_bound=3)
    flags.DEFINE_integer("seconds", 20, "Length of each video.", lower_bound=2)
    flags.DEFINE_integer("rounds", 3, "Preparations with one and with two processes.", lower_bound=1)
    flags.DEFINE_string("release", None, "Directory to keep the videos in, or to take them from; default: temporary.")
    flags.DEFINE_string("json", None, "Also write the figures to this file.")
    app.run(main)

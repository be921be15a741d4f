"""Measures prediction on clips of 640 x 360 pixels: one, a folder, a folder of twice as many, and in the demo.

    python -m benchmarks.predict --workdir=RUN --json=FILE
    python -m benchmarks.predict --workdir=RUN --clips=4      (a quick check)

Each command is a process of `launch.py --mode=predict` with the run's programs in the cache: the first command, which
fills it, does not count. The larger folder takes longer than the smaller one by the time of the further clips alone,
which gives the speed after start-up; memory should be the same. Memory is measured as by `benchmarks.start`.
The demo's answer is its page for an uploaded clip, in the process of the demo after its warm-up, without the browser.
"""

import functools
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from absl import app, flags
from rich.console import Console
from rich.table import Table

from benchmarks.long_videos import Sizes, make_long_videos
from benchmarks.start import measure
from mme2e_jax import Predictor
from mme2e_jax.commands.demo import DemoArguments, answer
from mme2e_jax.runtime.jax_cache import configure_jax

_ANSWERS = 5


def main(argv: list[str]) -> None:
    """Makes the clips, runs the commands and prints the figures."""
    del argv
    values = flags.FLAGS
    workdir = Path(values.workdir).absolute()
    with tempfile.TemporaryDirectory(prefix="mme2e-predict-") as scratch:
        one, few, many = _make_clips(Path(scratch), values.clips, values.seconds)
        rows: dict[str, dict[str, float]] = {}
        for name, given in (("", one), ("one clip", one), ("a folder", few), ("a folder of twice as many", many)):
            out = Path(scratch) / "out"
            shutil.rmtree(out, ignore_errors=True)
            arguments = ["--mode=predict", f"--workdir={workdir}", f"--input={given}", f"--output_dir={out}"]
            rows[name] = measure(arguments, Path(scratch) / "here", Path(scratch) / "xla")
        answers = _demo_seconds(workdir, Path(scratch), sorted(many.iterdir())[:_ANSWERS])
    del rows[""]
    further = rows["a folder of twice as many"]["seconds"] - rows["a folder"]["seconds"]
    speed = values.clips * values.seconds / further
    columns = ("seconds", "CPU seconds", "memory MB", "process MB")
    table = Table(title=f"{values.clips} and {2 * values.clips} clips of {values.seconds} s on {os.cpu_count()} cores")
    for heading in ("command", *columns):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.1f}" for column in columns))
    console = Console(width=140)
    console.print(table)
    console.print(
        f"A further clip takes {further / values.clips:.2f} s: {speed:.1f} seconds of video per second, after start-up."
    )
    slowest = max(answers)
    console.print(f"The demo answers in {statistics.median(answers):.2f} s (median), {slowest:.2f} s (slowest).")
    if values.json:
        found = {"clips": values.clips, "seconds": values.seconds, "video_seconds_per_second": speed}
        found |= {"demo_seconds": answers, "commands": rows}
        Path(values.json).write_text(json.dumps(found, indent=2) + "\n")


def _demo_seconds(workdir: Path, scratch: Path, clips: list[Path]) -> list[float]:
    """Seconds in which the demo answers to each clip."""
    configure_jax()
    limits = DemoArguments(None, None, 3.0, 0.5, "127.0.0.1", None, max_megabytes=1000, max_seconds=3600)
    seconds = []
    with Predictor.from_workdir(workdir) as predictor:
        predictor.warm_up(limits.window)
        predict = functools.partial(predictor, window=limits.window, hop=limits.hop)
        for clip in clips:
            # The demo deletes the clip and its directory.
            upload = scratch / "upload" / clip.name
            upload.parent.mkdir()
            shutil.copy(clip, upload)
            start = time.perf_counter()
            page = answer(predict, limits, [str(upload)], "")
            seconds.append(time.perf_counter() - start)
            assert "<iframe" in page, page
    return seconds


def _make_clips(scratch: Path, clips: int, seconds: int) -> tuple[Path, Path, Path]:
    """Makes clips; returns one of them, a folder of `clips`, and a folder of twice as many."""
    make_long_videos(scratch / "release", Sizes(2 * clips, seconds), workers=os.cpu_count() or 1)
    few, many = scratch / "few", scratch / "many"
    few.mkdir()
    many.mkdir()
    paths = sorted((scratch / "release").rglob("*.mp4"))
    for number, path in enumerate(paths):
        shutil.copy(path, many)
        if number < clips:
            shutil.copy(path, few)
    return paths[0], few, many


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Run to predict with.", required=True)
    flags.DEFINE_integer("clips", 20, "Number of clips in the smaller folder.", lower_bound=2)
    flags.DEFINE_integer("seconds", 10, "Length of each clip.", lower_bound=2)
    flags.DEFINE_string("json", None, "Also write the figures to this file.")
    app.run(main)

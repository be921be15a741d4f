"""Generates the embedded corpus, a small synthetic release.

    python -m data_tools.generate --layout=mosei --out=DIR --utterances=160 --seed=0
    python -m data_tools.generate --layout=iemocap --out=DIR
    python -m data_tools.generate --layout=processed_iemocap --out=DIR     (as the paper's authors publish it)

The same arguments give the same bytes with any number of processes, on one kind of machine with the same library
versions. From 24 utterances on the corpus contains all awkward cases.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_tools.mini_corpus import iemocap_release, mosei_release, processed_release
from data_tools.mini_corpus.dialogues import plan_dialogues
from data_tools.mini_corpus.plan import NoiseRates, Truth, plan_corpus, write_truth_file
from data_tools.mini_corpus.video import ClipTimes
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.runtime.files import disk_errors, finished_directory


class Layout(NamedTuple):
    """The functions that write a release; the plan of a video is a `VideoPlan` or a `DialoguePlan`."""

    plan: Callable[[int, int, NoiseRates], Sequence[Any]]
    write_video: Callable[[Path, Any], tuple[str, list[ClipTimes]]]
    # From the plans, and the times of their clips by video; returns the content of `truth.json`, if there is one.
    finish: Callable[[Path, Sequence[Any], Mapping[str, Sequence[ClipTimes]]], Truth | None]


LAYOUTS: Mapping[str, Layout] = {
    "mosei": Layout(plan_corpus, mosei_release.write_video, mosei_release.finish),
    "iemocap": Layout(plan_dialogues, iemocap_release.write_dialogue, iemocap_release.describe),
    "processed_mosei": Layout(plan_corpus, processed_release.write_mosei_video, processed_release.finish_mosei),
    "processed_iemocap": Layout(
        plan_dialogues, processed_release.write_iemocap_dialogue, processed_release.finish_iemocap
    ),
}


def generate(
    out: str | os.PathLike[str],
    utterances: int = 160,
    seed: int = 0,
    *,
    layout: str = "mosei",
    workers: int | None = None,
    rates: NoiseRates | None = None,
) -> Path:
    """Writes a corpus to `out`, a new or empty directory that appears when it is complete, and returns `out` as a path.

    It has `utterances` clips, at least 8 (iemocap: 24), in one of `LAYOUTS`. By default there is one worker process per
    core. Several workers are new interpreters, so that a calling script needs `if __name__ == "__main__"`.

    Raises ValueError for an unknown layout, too few utterances, a negative seed, or no worker, and `OutputExistsError`
    (a ValueError) if `out` is a file or a directory that is not empty.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if workers is not None and workers < 1:
        raise ValueError(f"at least 1 worker is needed, found {workers}")
    rates = rates or NoiseRates()
    files = LAYOUTS[layout]
    plans = files.plan(utterances, seed, rates)
    out = Path(out)
    with finished_directory(out) as root:
        write_video = partial(files.write_video, root)
        times = _write_videos(plans, write_video, min(workers or os.cpu_count() or 1, len(plans)))
        if truth := files.finish(root, plans, times):
            write_truth_file(root, layout, seed, rates, truth)
    return out


def _write_videos(plans: Sequence[Any], write_video: Callable, workers: int) -> dict[str, list[ClipTimes]]:
    console = PlainConsole(stderr=True)
    columns = (TextColumn("generating videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        if workers == 1:
            return dict(progress.track(map(write_video, plans), len(plans)))
        # A forked copy of a process with threads (decoders, JAX) can hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            return dict(progress.track(pool.map(write_video, plans), len(plans)))


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    try:
        with disk_errors():
            out = generate(values.out, values.utterances, values.seed, layout=values.layout, workers=values.workers)
    except (ValueError, UserError) as error:
        raise SystemExit(f"generate: {error}") from None
    print(f"{values.utterances} utterances written to {out}")


if __name__ == "__main__":
    flags.DEFINE_string("layout", "mosei", f"Release whose files to imitate: {', '.join(LAYOUTS)}.")
    flags.DEFINE_string("out", None, "Directory to create; must be absent or empty.")
    flags.DEFINE_integer("utterances", 160, "Number of clips (at least 8).")
    flags.DEFINE_integer("seed", 0, "Seed; the same seed gives the same bytes.")
    flags.DEFINE_integer("workers", None, "Number of processes; default: one per core.")
    flags.mark_flag_as_required("out")
    app.run(main)

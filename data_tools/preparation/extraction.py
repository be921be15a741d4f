"""Extracts all videos of a release and reports progress."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_tools.preparation.settings import Settings
from data_tools.preparation.spool import Spool
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Utterance
from mme2e_jax.media.workers import Job, JobResult
from mme2e_jax.runtime.console import PlainConsole

RunJobs = Callable[[Sequence[Job]], Iterator[JobResult]]  # runs jobs and yields their results in any order

_SECONDS_BETWEEN_LINES = 20.0  # without lines in log files, users stop a program that works


def extract_all(
    release: Release, spool: Spool, settings: Settings, run: RunJobs, console: PlainConsole
) -> list[JobResult]:
    """Extracts every video that is not in the spool yet; returns all results in the order of the videos."""
    by_media: dict[str, list[Utterance]] = {}
    for utterance in release.utterances:
        by_media.setdefault(utterance.media_key, []).append(utterance)
    extract_settings = {
        "frame_interval_ms": settings.frame_interval_ms,
        "audio_from_video": settings.audio_from_video,
        "sound_in_video": settings.source.sound_in_video,
        "face_choice": settings.face_choice,
    }
    jobs = [
        spool.job(utterances, release.media[key], extract_settings, settings.kind)
        for key, utterances in sorted(by_media.items())
    ]
    results: dict[Path, JobResult] = {}
    for job in jobs:
        if (result := spool.load(job)) is not None:
            results[job.spool] = result
    if results:
        console.print(f"Continuing an interrupted preparation: {len(results)} of {len(jobs)} videos are done.")
    for result in _with_progress([job for job in jobs if job.spool not in results], len(jobs), run, console):
        spool.store(result)
        results[result.job.spool] = result
    return [results[job.spool] for job in jobs]


def _with_progress(jobs: Sequence[Job], total: int, run: RunJobs, console: PlainConsole) -> Iterator[JobResult]:
    done = total - len(jobs)
    columns = (TextColumn("preparing videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last_line = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, completed=done)
        for result in run(jobs):
            yield result
            done += 1
            progress.advance(task)
            if not console.is_terminal and time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                console.print(f"prepared {done} of {total} videos")

"""Keeps extracted videos until the records are complete, to continue from them."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mme2e_jax.media.utterance import Finding, ImageSequence, Media, Utterance
from mme2e_jax.media.workers import Job, JobResult
from mme2e_jax.runtime.files import OutputExistsError, remove_unfinished, write_json
from mme2e_jax.runtime.lock import lock_file

_VERSION = 2  # increase it when the same media and settings give other arrays or findings than before


class Spool:
    """A directory of extracted videos; their keys hash utterances, files (size and time) and settings."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.discarded = False  # whether `open_spool` removes the directory at its end in any case

    def job(self, utterances: Sequence[Utterance], media: Media, settings: dict[str, Any], kind: str) -> Job:
        """The job of one video, with its path in the spool."""
        content = {
            "version": _VERSION,
            "utterances": [asdict(utterance) for utterance in utterances],
            "media": [_identity(path) for path in (media.video, media.wav)],
            "settings": settings,
            "kind": kind,
        }
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
        return Job(list(utterances), media, settings, self._directory / f"{key}.npz", kind)

    def load(self, job: Job) -> JobResult | None:
        """The result of a finished job; None for another job."""
        try:
            stored = json.loads(result_path(job).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return JobResult(job, stored["kept"], [Finding(**finding) for finding in stored["findings"]], {})

    def store(self, result: JobResult) -> None:
        """Marks a job as finished, unless its worker died: the next attempt may succeed."""
        if any(finding.reason == "worker_died" for finding in result.findings):
            return
        content = {"kept": result.kept, "findings": [asdict(finding) for finding in result.findings]}
        # The arrays are stored already, so this file marks a complete result.
        write_json(result_path(result.job), content)


@contextlib.contextmanager
def open_spool(out: Path) -> Iterator[Spool]:
    """The spool next to the records `out`, removed on success; raises `OutputExistsError` if another process has it."""
    directory = out.parent / f".{out.name}.partial"
    directory.mkdir(parents=True, exist_ok=True)
    spool = Spool(directory)
    refusal = OutputExistsError(f"Another process prepares {out}. Wait for its end, or choose another directory.")
    with lock_file(directory / "lock", refusal):
        remove_unfinished(out)
        try:
            yield spool
            spool.discarded = True
        finally:
            if spool.discarded:
                # A worker of an interrupted preparation may still write its last file.
                shutil.rmtree(directory, ignore_errors=True)


def result_path(job: Job) -> Path:
    """The file next to a finished job's arrays with its kept utterances and findings."""
    return job.spool.with_suffix(".json")


def _identity(path: Path | ImageSequence | None) -> list[Any] | None:
    if path is None:
        return None
    if isinstance(path, ImageSequence):
        return [*(_identity(path.folder) or []), path.prefix, path.fps]
    stat = os.stat(path)
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]

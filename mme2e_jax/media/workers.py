"""Worker processes that extract one video at a time, and outlive a video that kills one.

Workers are fresh interpreters that run this module, not children of `multiprocessing`: those would
import the caller's main module again (the launcher, and JAX with it), inherit a TensorFlow that is
already set up, and take the whole pool down when a decoder crashes. A job and its answer are one
line of JSON each; arrays travel through a file.

    python -m mme2e_jax.media.workers      (started by an `Extractor`, never by hand)
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.media.utterance import Finding, Media, Pictures, Utterance

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
_ATTEMPTS = 2


@dataclass(frozen=True)
class Job:
    """One video to extract.

    Attributes:
      utterances: all of this video.
      media: the video's files.
      settings: the fields of `extract.ExtractSettings`.
      spool: the file to write the arrays to, `IDENTIFIER/NAME` in an npz.
      kind: of records, one of `arrays.TO_ARRAYS`.
      in_parts: one of several jobs for a video, one after the other in the order of time; its sound stays open between
        them.
    """

    utterances: list[Utterance]
    media: Media
    settings: dict[str, Any]
    spool: Path
    kind: str = "media"
    in_parts: bool = False


@dataclass(frozen=True)
class JobResult:
    """Answer to a job.

    Attributes:
      job: the job.
      kept: identifiers of the utterances in the spool file, in the job's order.
      findings: what was dropped or degraded.
      seconds: time spent by kind of work.
    """

    job: Job
    kept: list[str]
    findings: list[Finding]
    seconds: dict[str, float]


def run_jobs(jobs: Sequence[Job], processes: int) -> Iterator[JobResult]:
    """Runs the jobs in `processes` worker processes and yields the results as they come.

    A worker that dies is replaced and its job tried once more; then all utterances of that job are
    reported as `worker_died`.

    Raises:
      RuntimeError: a worker raised; the message holds its traceback.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    finished: queue.SimpleQueue[JobResult | BaseException] = queue.SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        try:
            with Extractor() as extractor:
                while not stop.is_set():
                    try:
                        job = waiting.get_nowait()
                    except queue.Empty:
                        return
                    finished.put(extractor.run(job))
        except BaseException as error:
            finished.put(error)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(processes, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Extractor:
    """Runs jobs one after the other in a worker process, which the first job starts; close it in the end."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts the worker process before there is a job: it takes seconds until it is ready."""
        self._worker = self._worker or _Worker()

    def run(self, job: Job) -> JobResult:
        """The result of a job; see `run_jobs` for what becomes of one that kills the worker, or raises there."""
        answer = None
        for _ in range(_ATTEMPTS):
            self._worker = self._worker or _Worker()
            answer = self._worker.ask(job)
            if answer is not None:
                break
            self.close()
        return _to_result(job, answer)

    def close(self) -> None:
        """Ends the worker process, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class _Worker:
    """The caller's side of one worker process."""

    def __init__(self) -> None:
        # One thread of linear algebra each: those of several workers would wait for each other, and
        # the sums they make would depend on the machine's number of cores.
        single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        path = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mme2e_jax.media.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"} | single,
        )

    def ask(self, job: Job) -> dict[str, Any] | None:
        """The worker's answer, or None if it died."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(asdict(job), default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            return None
        return json.loads(line) if line.endswith("\n") else None

    def close(self) -> None:
        """Ends the process."""
        with self._process:
            if self._process.stdin and not self._process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()


def died(job: Job) -> JobResult:
    """The result of a job whose worker died at every attempt."""
    return JobResult(job, [], [Finding(u.id, "worker_died") for u in job.utterances], {})


def _to_result(job: Job, answer: dict[str, Any] | None) -> JobResult:
    if answer is None:
        return died(job)
    if "error" in answer:
        names = ", ".join(utterance.id for utterance in job.utterances[:3])
        raise RuntimeError(f"Extracting {names} of {job.media} failed:\n{answer['error']}")
    findings = [Finding(**finding) for finding in answer["findings"]]
    return JobResult(job, answer["kept"], findings, answer["seconds"])


def _work() -> None:
    """Answers jobs from standard input until it ends."""
    # Libraries print to standard output; the answers get a channel of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    from mme2e_jax.media.faces import FaceDetector, limit_tensorflow

    limit_tensorflow()
    import cv2

    cv2.setNumThreads(1)
    from mme2e_jax.media.open_sound import OpenSounds

    detector, open_sounds = FaceDetector(), OpenSounds()
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), detector, open_sounds)
        except Exception:
            import traceback

            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(job: dict[str, Any], detector: Any, open_sounds: Any) -> dict[str, Any]:
    from mme2e_jax.media.arrays import TO_ARRAYS
    from mme2e_jax.media.extract import ExtractSettings, extract

    utterances = [Utterance(**fields) for fields in job["utterances"]]
    video, wav = job["media"]["video"], job["media"]["wav"]
    if isinstance(video, dict):
        video = Pictures(Path(video["folder"]), video["prefix"], video["fps"])
    media = Media(Path(video) if isinstance(video, str) else video, wav and Path(wav))
    extracted = extract(
        utterances,
        media,
        ExtractSettings(**job["settings"]),
        detector,
        TO_ARRAYS[job["kind"]],
        open_sounds if job["in_parts"] else None,
    )
    arrays: dict[str, Any] = {
        f"{name}/{kind}": value
        for name, of_utterance in extracted.arrays.items()
        for kind, value in asdict(of_utterance).items()
    }
    # Under a name of its own first: a worker that has outlived its caller may be at the same job as one of the
    # caller's successor, on this machine or, with Beam, on another.
    unfinished = Path(f"{job['spool']}.{uuid.uuid4().hex}")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(job["spool"])
    return {
        "kept": list(extracted.arrays),
        "findings": [asdict(finding) for finding in extracted.findings],
        "seconds": extracted.seconds,
    }


if __name__ == "__main__":
    _work()

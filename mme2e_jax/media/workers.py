"""Extracts videos in worker processes, and replaces a worker that dies.

A worker is a new interpreter that runs this module. Children of `multiprocessing` would import the caller's main module
(the launcher, and with it JAX), inherit a TensorFlow that is set up already, and end the whole pool when a decoder
crashes. Jobs and results are pickled to the worker's standard input and output; arrays are written to a file.

    python -m mme2e_jax.media.workers      (started by `Extractor`)
"""

import atexit
import contextlib
import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.media.utterance import Finding, Media, Utterance
from mme2e_jax.runtime.files import atomic_file

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
_ATTEMPTS = 2
SPEECH = "speech"  # kind of a job that reads the sound only, for speech recognition
CLIP = "clip"  # kind of a job that reads a clip for prediction
_WARM_UP = "warm_up"  # kind of a job that reads nothing, but runs the face detector


@dataclass(frozen=True)
class Job:
    """One video to extract."""

    utterances: list[Utterance]  # all utterances of the video
    media: Media  # files of the video
    settings: dict[str, Any]  # fields of `extract.ExtractSettings`
    spool: Path  # npz file to write the arrays to, as `IDENTIFIER/NAME`
    kind: str = "media"  # record kind, one of `arrays.TO_ARRAYS`; `CLIP`, `SPEECH` or `_WARM_UP`
    # Whether successive jobs read the parts of one video in order of time; its sound stays open between them.
    in_parts: bool = False


@dataclass(frozen=True)
class JobResult:
    """The result of a job."""

    job: Job  # finished job
    kept: list[str]  # identifiers of the utterances in the spool file, in the job's order
    findings: list[Finding]  # dropped, degraded and noted utterances
    seconds: dict[str, float]  # time spent by kind of work


def run_jobs(jobs: Sequence[Job], processes: int) -> Iterator[JobResult]:
    """Runs the jobs in `processes` worker processes and yields the results as they are finished.

    A worker that dies is replaced and its job is repeated once. If the job fails again, its utterances are reported as
    `worker_died`. Raises RuntimeError, with the worker's traceback, if results cannot be written.
    """
    idle: queue.SimpleQueue[Extractor] = queue.SimpleQueue()

    def run(job: Job) -> JobResult:
        extractor = idle.get()
        try:
            return extractor.run(job)
        finally:
            idle.put(extractor)

    with contextlib.ExitStack() as extractors, ThreadPoolExecutor(processes) as threads:
        for _ in range(min(processes, len(jobs))):
            idle.put(extractors.enter_context(contextlib.closing(Extractor())))
        futures = [threads.submit(run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            threads.shutdown(cancel_futures=True)


class Extractor:
    """Runs jobs one after the other in a worker process, which the first job starts; close it after use."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def start(self) -> None:
        """Starts the worker process before the first job, because this takes seconds."""
        self._worker = self._worker or _Worker()

    def warm_up(self) -> None:
        """Runs the face detector once, so that the first job does not take seconds longer than the next one."""
        self.run(Job([], Media(None, None), {}, Path(), _WARM_UP))

    def run(self, job: Job) -> JobResult:
        """The result of a job; a job that kills the worker or raises an exception is handled as in `run_jobs`."""
        for _ in range(_ATTEMPTS):
            self._worker = self._worker or _Worker()
            answer = self._worker.ask(job)
            if isinstance(answer, JobResult):
                return answer
            if answer is not None:
                names = ", ".join(utterance.id for utterance in job.utterances[:3])
                raise RuntimeError(f"Extracting {names} of {job.media} failed:\n{answer}")
            if self.close() == -signal.SIGINT:
                # Ctrl-C reaches the caller too; a new worker would keep it waiting.
                raise KeyboardInterrupt
        return dead_worker_result(job)

    def close(self) -> int:
        """Ends the worker process, if there is one; returns its exit status, the negative number of a signal."""
        worker, self._worker = self._worker, None
        return worker.close() if worker is not None else 0


class _Worker:
    """The caller's side of one worker process."""

    def __init__(self) -> None:
        # One thread of linear algebra each: more would wait for each other, and sums depend on the number of cores.
        single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        path = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mme2e_jax.media.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"} | single,
        )

    def ask(self, job: Job) -> JobResult | str | None:
        """The result, the traceback of an exception, or None if the worker died."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            pickle.dump(job, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            return None

    def close(self) -> int:
        """Ends the process; returns its exit status."""
        with self._process:
            if self._process.stdin and not self._process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
        return self._process.returncode


def dead_worker_result(job: Job) -> JobResult:
    """The result of a job whose worker died in every attempt."""
    return JobResult(job, [], [Finding(u.id, "worker_died") for u in job.utterances], {})


def work() -> None:
    """Runs the jobs of standard input until it ends."""
    # Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # As in the launcher.
    gc.set_threshold(100_000, 20, 20)
    # Libraries print to standard output, so the answers use a separate file descriptor.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    from mme2e_jax.media.faces import FaceDetector, limit_tensorflow

    limit_tensorflow()
    import cv2

    cv2.setNumThreads(1)
    from mme2e_jax.media.sound_stream import SoundStreamCache

    detector, streams = FaceDetector(), SoundStreamCache()
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            # Libraries delete their temporary files. A regular end of the interpreter would take another second, for
            # which the caller waits.
            atexit._run_exitfuncs()
            sys.stderr.flush()
            os._exit(0)
        try:
            answer = extract_job(job, detector, streams)
        except Exception:
            answer = traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


def extract_job(job: Job, detector: Any, streams: Any) -> JobResult:
    """The result of a job; an exception of the extraction becomes a finding of each utterance."""
    if job.kind == _WARM_UP:
        detector.warm_up()
        return JobResult(job, [], [], {})
    from mme2e_jax.media.arrays import TO_ARRAYS, clip_arrays, speech_arrays
    from mme2e_jax.media.extract import ExtractSettings, extract

    settings = ExtractSettings(**job.settings)
    if job.kind == SPEECH:
        # No pictures are decoded.
        to_arrays, detector = speech_arrays, None
    else:
        to_arrays = clip_arrays if job.kind == CLIP else TO_ARRAYS[job.kind]
    try:
        extracted = extract(job.utterances, job.media, settings, detector, to_arrays, streams if job.in_parts else None)
    except Exception as error:
        # One video must not cost the others. The traceback shows whether the mistake is ours.
        traceback.print_exc()
        detail = f"{type(error).__name__}: {error}"[:200]
        return JobResult(job, [], [Finding(u.id, "extraction_failed", detail) for u in job.utterances], {})
    arrays: dict[str, Any] = {
        f"{identifier}/{name}": array for identifier, named in extracted.arrays.items() for name, array in named.items()
    }
    # Atomically: a worker that outlived its caller may run the same job as a worker of the next call, also with Beam.
    with atomic_file(job.spool) as file:
        np.savez(file, **arrays)
    return JobResult(job, list(extracted.arrays), extracted.findings, extracted.seconds)


if __name__ == "__main__":
    # Results are pickled under the name of this module, which is not `__main__` for the caller.
    from mme2e_jax.media import workers

    workers.work()

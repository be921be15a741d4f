"""Tests worker processes with fake workers; test_prepare runs real ones."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mme2e_jax.media import workers
from mme2e_jax.media.sound import read_soundtrack
from mme2e_jax.media.utterance import Media, Utterance
from mme2e_jax.media.workers import SPEECH, Extractor, Job, JobResult, extract_job, run_jobs
from tests.helpers.media import tone, write_video


def make_jobs(count: int) -> list[Job]:
    return [
        Job(
            [Utterance(f"v{i}_0", f"v{i}", 0.0, 1.0, "text", (0,) * 6, f"v{i}")],
            Media(None, None),
            {},
            Path(f"{i}.npz"),
        )
        for i in range(count)
    ]


def install(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[str]:
    """Replaces worker processes by `answer(video)`; returns the log of starts and ends."""
    log: list[str] = []
    lock = threading.Lock()

    class MadeUpWorker:
        def __init__(self) -> None:
            with lock:
                log.append("start")

        def ask(self, job: Job) -> JobResult | str | None:
            answered = answer(job.utterances[0].video)
            return JobResult(job, *answered) if isinstance(answered, tuple) else answered

        def close(self) -> None:
            with lock:
                log.append("end")

    monkeypatch.setattr(workers, "_Worker", MadeUpWorker)
    return log


def fine(video: str) -> tuple[Any, ...]:
    return [f"{video}_0"], [], {"mel": 1.0}


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_every_job_is_answered_once(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install(monkeypatch, fine)

    results = list(run_jobs(make_jobs(5), processes))

    assert sorted(result.kept[0] for result in results) == [f"v{i}_0" for i in range(5)]
    # A quick worker may leave nothing for the others to start for.
    assert 1 <= log.count("start") == log.count("end") <= processes


def test_a_video_that_kills_workers_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    log = install(monkeypatch, lambda video: None if video == "v1" else fine(video))

    results = {result.job.utterances[0].video: result for result in run_jobs(make_jobs(3), 1)}

    assert [results[video].kept for video in ("v0", "v1", "v2")] == [["v0_0"], [], ["v2_0"]]
    assert [(f.id, f.reason) for f in results["v1"].findings] == [("v1_0", "worker_died")]
    # One for v0, which dies of v1; one more that dies of v1; one for v2.
    assert log.count("start") == log.count("end") == 3


def test_a_worker_that_dies_once_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def answer(video: str) -> tuple[Any, ...] | None:
        tries.append(video)
        return None if tries == ["v0"] else fine(video)

    install(monkeypatch, answer)

    (result,) = run_jobs(make_jobs(1), 1)

    assert result.kept == ["v0_0"]
    assert tries == ["v0", "v0"]


def test_an_exception_in_a_worker_is_raised_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    log = install(monkeypatch, lambda video: "Traceback: our mistake")

    with pytest.raises(RuntimeError, match=r"Extracting v0_0 of .*failed:\nTraceback: our mistake"):
        list(run_jobs(make_jobs(2), 1))

    assert log.count("start") == log.count("end")


def test_no_jobs_start_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    log = install(monkeypatch, fine)

    assert list(run_jobs([], 2)) == []
    assert log == []


def test_an_exception_of_one_video_is_a_finding_of_its_utterances(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing:
        def find(self, images: list[np.ndarray], smallest: float) -> None:
            raise OverflowError("too long")

    write_video(tmp_path / "v.mp4", [100] * 10)
    job = Job([Utterance("v_0", "v", 0.0, 1.0, "", (), "v")], Media(tmp_path / "v.mp4", None), {}, tmp_path / "v.npz")

    result = extract_job(job, Failing(), None)

    assert result.kept == []
    assert [(f.id, f.reason, f.detail) for f in result.findings] == [
        ("v_0", "extraction_failed", "OverflowError: too long")
    ]
    assert "OverflowError: too long" in capfd.readouterr().err


def test_a_warm_up_runs_the_face_detector_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detector:
        warm = 0

        def warm_up(self) -> None:
            self.warm += 1

    detector = Detector()
    extractor = Extractor()
    monkeypatch.setattr(Extractor, "run", lambda _, job: extract_job(job, detector, None))

    extractor.warm_up()

    assert detector.warm == 1


def test_speech_recognition_gets_the_sound_of_a_video_without_its_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [0] * 20, wave=tone(2.0))
    utterances = [Utterance("clip_0", "clip", 0.5, 1.5, "", (), "clip")]
    media, options, spool = Media(tmp_path / "v.mp4", None), {"sound_in_video": True}, tmp_path / "s.npz"

    # Without a detector, which would look at the frames.
    result = extract_job(Job(utterances, media, options, spool, SPEECH), None, None)

    assert (result.kept, result.findings) == (["clip_0"], [])
    with np.load(spool) as arrays:
        assert arrays.files == ["clip_0/wave"]
        np.testing.assert_array_equal(arrays["clip_0/wave"], read_soundtrack(tmp_path / "v.mp4").cut(0.5, 1.5))

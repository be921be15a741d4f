"""A run that is killed repeatedly or stopped ends with the numbers of an uninterrupted one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.killing import differences, soak
from configs import lf_rnn, mini_sparse
from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.training.step_log import StepLog
from tests.helpers.runs import REPOSITORY, run
from tests.helpers.synthetic import shrunk_run

# Five epochs of three steps.
LONGER = ["--config.optim.epochs=5", "--config.checkpoint.every_steps=2"]


@pytest.mark.slow
def test_a_run_killed_at_ten_moments_ends_as_if_left_alone(feature_records: Path, tmp_path: Path) -> None:
    outcome = soak(lambda workdir: [*shrunk_run(lf_rnn, feature_records, workdir), *LONGER], tmp_path, kills=10, seed=0)
    assert outcome.to_json() | {"moments": None} == {
        "kills": 10,
        "survived": 10,
        "differences": 0,
        "moments": None,
        "damaged_checkpoints": 2,
    }, outcome
    assert set(outcome.kills) == {"in training", "while saving", "in validation", "at the start", "in evaluation"}
    assert differences(tmp_path / "alone", tmp_path / "killed") == []
    assert len((tmp_path / "killed" / "steps.jsonl").read_text().splitlines()) == 15


def test_a_run_killed_once_ends_as_if_left_alone(feature_records: Path, baseline_run: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    command = shrunk_run(lf_rnn, feature_records, workdir)
    process = subprocess.Popen([sys.executable, "launch.py", *command], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (workdir / "checkpoints" / "3").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()

    run(*command)

    assert differences(baseline_run, workdir) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_baseline_that_is_stopped_saves_its_step_and_ends_as_if_left_alone(
    feature_records: Path,
    baseline_run: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    assert threading.current_thread() is threading.main_thread()
    command, log = shrunk_run(lf_rnn, feature_records, tmp_path), StepLog.after_step

    def log_and_stop(self: StepLog, step: int, *values: Any) -> None:
        log(self, step, *values)
        if step == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(StepLog, "after_step", log_and_stop)
    run(*command)
    monkeypatch.undo()

    done = Checkpoints(tmp_path).find_latest_step()
    assert done in (4, 5)
    out, err = capfd.readouterr()
    said = " ".join(out.split())
    assert f"Stopped on request: {done} of 6 steps are saved. The same command resumes the run." in said
    assert "Stopping as soon as this step is done." in err
    run(*command)
    assert differences(baseline_run, tmp_path) == []


def test_differences_are_found(baseline_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(baseline_run, other)
    assert differences(baseline_run, other) == []
    log = other / "steps.jsonl"
    lines = log.read_text().splitlines()
    changed = json.loads(lines[3])
    changed["loss"] += 1e-7
    log.write_text("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    (other / "report" / "metrics.json").write_text("{}")

    assert differences(baseline_run, other) == ["losses of 6 and 6 steps", "metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_reports_how_to_resume_and_exits_with_0(
    records: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = shrunk_run(mini_sparse, records, tmp_path / "run")
    command = [sys.executable, "launch.py", *arguments, "--config.checkpoint.every_steps=0"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "run" / "steps.jsonl", time.monotonic() + 600
    while not (log.exists() and log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    said, _ = process.communicate(timeout=600)

    assert process.returncode == 0
    done = Checkpoints(tmp_path / "run").find_latest_step()
    assert done is not None
    if done < 6:
        assert f"Stopped on request: {done} of 6 steps are saved. The same command resumes the run." in said
    else:
        assert "Stopped on request. Training is complete and saved." in said or "Wrote" in said

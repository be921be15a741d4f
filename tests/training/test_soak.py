"""A run that is killed repeatedly or stopped ends with the numbers of an uninterrupted one."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.killing import differences, soak
from configs import lf_rnn, mini_sparse
from mme2e_jax.checkpoints.reader import Checkpoints
from tests.helpers.synthetic import shrunk_run

REPOSITORY = Path(__file__).parent.parent.parent
# Five epochs of three steps.
LONGER = ["--config.optim.epochs=5", "--config.checkpoint.every_steps=2"]


@pytest.fixture(scope="module")
def soaked(feature_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a baseline: `alone`, and `killed` ten times."""
    directory = tmp_path_factory.mktemp("soak")
    outcome = soak(
        lambda workdir: [*shrunk_run(lf_rnn, feature_records, workdir), *LONGER], directory, kills=10, seed=0
    )
    assert outcome.to_json() | {"moments": None} == {
        "kills": 10,
        "survived": 10,
        "differences": 0,
        "moments": None,
        "damaged_checkpoints": 2,
    }, outcome
    assert set(outcome.kills) == {"in training", "while saving", "in validation", "at the start", "in evaluation"}
    return directory


def test_a_run_killed_at_ten_moments_ends_as_if_left_alone(soaked: Path) -> None:
    assert differences(soaked / "alone", soaked / "killed") == []
    assert len((soaked / "killed" / "steps.jsonl").read_text().splitlines()) == 15


def test_differences_are_found(soaked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(soaked / "alone", other)
    log = other / "steps.jsonl"
    lines = log.read_text().splitlines()
    changed = json.loads(lines[3])
    changed["loss"] += 1e-7
    log.write_text("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    (other / "report" / "metrics.json").write_text("{}")

    assert differences(soaked / "alone", other) == ["losses of 15 and 15 steps", "metrics"]


@pytest.mark.xdist_group("sparse")
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

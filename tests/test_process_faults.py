"""What processes that are killed, stopped or disturbed leave behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.killing import differences
from configs import lf_rnn
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.lock import lock_workdir
from mme2e_jax.training.step_log import StepLog
from tests.helpers.runs import REPOSITORY, metrics_of, run
from tests.helpers.synthetic import shrunk_run

# Ends the process at the moment when a file of the given name would take the place of the old one.
_KILLED = """
import os, signal, sys
from pathlib import Path
name, replace = sys.argv.pop(1), Path.replace
def killed(self, target):
    if Path(target).name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = killed
"""
_LAUNCH = "import launch; launch.run()"
_PREDICTION = "from tests.predict.test_results import prediction; prediction().write(sys.argv[1])"


def test_a_second_run_in_a_workdir_is_refused_and_disturbs_nothing(feature_records: Path, tmp_path: Path) -> None:
    with lock_workdir(tmp_path / "run"):
        before = sorted((tmp_path / "run").rglob("*"))
        with pytest.raises(UserError, match="Another run works in"):
            run(*shrunk_run(lf_rnn, feature_records, tmp_path / "run"))
        assert sorted((tmp_path / "run").rglob("*")) == before


def test_a_second_run_is_refused_before_frameworks_are_imported(feature_records: Path, tmp_path: Path) -> None:
    arguments = shrunk_run(lf_rnn, feature_records, tmp_path / "run")
    with lock_workdir(tmp_path / "run"):
        code = "from mme2e_jax.commands.main import main\ntry: main(sys.argv, None)\nfinally: print([*sys.modules])"
        command = [sys.executable, "-c", f"import sys\n{code}", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert "Another run works in" in done.stderr
    assert "'mme2e_jax.config.parse'" in done.stdout
    assert not {"'jax'", "'tensorflow'"} & set(done.stdout.strip("[]\n").split(", "))


def test_a_run_whose_records_vanish_names_them_and_ends_as_if_left_alone_once_they_are_back_elsewhere(
    feature_records: Path, baseline_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Path(shutil.copytree(feature_records, tmp_path / "records"))
    log = StepLog.after_step

    def vanish(self: StepLog, step: int, *values: Any) -> None:
        log(self, step, *values)
        # Files of training may be open already; those of validation are not.
        for path in records.glob("*.array_record-*"):
            path.unlink()

    monkeypatch.setattr(StepLog, "after_step", vanish)
    with pytest.raises(UserError, match=r"unusable records .*\n.*array_record"):
        run(*shrunk_run(lf_rnn, records, tmp_path / "run"))
    monkeypatch.undo()

    shutil.move(tmp_path / "run", tmp_path / "moved")
    run(*shrunk_run(lf_rnn, feature_records, tmp_path / "moved"))

    assert differences(baseline_run, tmp_path / "moved") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "program", "arguments"),
    [
        ("model.mme2e", _LAUNCH, ("--mode=export", "--workdir={run}")),
        ("metrics.json", _LAUNCH, ("--mode=evaluate", "--workdir={run}")),
        ("index.html", _LAUNCH, ("--mode=evaluate", "--workdir={run}")),
        ("predictions.json", _PREDICTION, ("{run}",)),
        ("predictions.html", _PREDICTION, ("{run}",)),
    ],
)
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_replaces_it(
    name: str, program: str, arguments: tuple[str, ...], baseline_run: Path, tmp_path: Path
) -> None:
    workdir = Path(shutil.copytree(baseline_run, tmp_path / "run"))
    file = workdir / "report" / name if (workdir / "report" / name).exists() else workdir / name
    file.write_bytes(b"old") if name != "model.mme2e" else None
    given = [argument.format(run=workdir) for argument in arguments]

    def start(killer: str, *first: str) -> int:
        code = f"import sys\n{killer}{program}"
        return subprocess.run([sys.executable, "-c", code, *first, *given], cwd=REPOSITORY, check=False).returncode

    assert start(_KILLED, name) == -signal.SIGKILL
    # Where predictions.json is, a prediction is complete, so that the old one goes first.
    assert not file.exists() if name in ("model.mme2e", "predictions.json") else file.read_bytes() == b"old"

    assert start("") == 0
    assert len(file.read_bytes()) > 100
    if name == "metrics.json":
        # The predictions are those of the finished run.
        assert json.loads(file.read_text())["test"] == json.loads(metrics_of(baseline_run))["test"]


def _wait(reached: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_that_is_suspended_and_continued_ends_as_if_left_alone(
    feature_records: Path, baseline_run: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "launch.py", *shrunk_run(lf_rnn, feature_records, tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    for step in (1, 4):
        _wait(
            lambda step=step: (log := tmp_path / "steps.jsonl").exists() and log.read_bytes().count(b"\n") >= step,
            process,
        )
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(signal.SIGCONT)

    assert process.wait(timeout=600) == 0
    assert differences(baseline_run, tmp_path) == []


@pytest.mark.slow
def test_a_sweep_killed_twice_ends_with_the_runs_of_one_left_alone(
    feature_records: Path, baseline_run: Path, tmp_path: Path
) -> None:
    arguments = [a for a in shrunk_run(lf_rnn, feature_records, tmp_path) if not a.startswith("--workdir")]
    command = [sys.executable, "-m", "mme2e_jax.sweep", *arguments, "--seeds=0,1", f"--out={tmp_path}"]
    for seed in (0, 1):
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        _wait(lambda seed=seed: (tmp_path / f"seed={seed}" / "checkpoints" / "3").exists(), process)
        training = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in training:
            os.kill(int(child), signal.SIGKILL)

    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(baseline_run, tmp_path / "seed=0") == []
    content = json.loads((tmp_path / "sweep.json").read_text())
    assert [(entry["name"], "report" in entry) for entry in content["runs"]] == [("seed=0", True), ("seed=1", True)]

"""Several processes give the numbers of one, and none waits forever for a lost one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from configs import lf_rnn, mini_dense
from mme2e_jax.checkpoints.reader import Checkpoints
from tests.helpers.closeness import assert_close
from tests.helpers.synthetic import shrunk_run

REPOSITORY = Path(__file__).parent.parent.parent


def start(arguments: list[str], log: Path, devices: int) -> subprocess.Popen:
    # The last of equal flags counts.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags}
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "launch.py", *arguments], cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )


def start_two(arguments: list[str], directory: Path) -> list[subprocess.Popen]:
    """Two processes of four devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = ["--distributed", f"--coordinator=localhost:{port}", "--process_count=2"]
    return [
        start([*arguments, *place, f"--process_id={i}"], directory / f"process{i}.log", devices=4) for i in range(2)
    ]


def logs(directory: Path) -> str:
    return "\n".join(f"{log.name}:\n{log.read_text()}" for log in sorted(directory.glob("*.log")))


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()]


def on_all_devices(experiment: Any, records: Path) -> list[str]:
    command = shrunk_run(experiment, records, Path("RUN"))
    return [part for part in command if "workdir" not in part and "mesh.devices" not in part]


@pytest.fixture
def arguments(feature_records: Path) -> list[str]:
    """Arguments of a run that does not end by itself."""
    return [*on_all_devices(lf_rnn, feature_records), "--config.optim.epochs=500"]


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one_does(records: Path, tmp_path: Path) -> None:
    # The faces' tower has batch statistics, of all processes' utterances. SGD: Adam makes rounding errors of gradients
    # near 0 as large as its steps.
    arguments = [*on_all_devices(mini_dense, records), "--config.model.modalities=v", "--config.optim.name=sgd"]
    whole = start([*arguments, f"--workdir={tmp_path / 'one'}"], tmp_path / "one.log", devices=8)
    assert whole.wait(600) == 0, logs(tmp_path)

    processes = start_two([*arguments, f"--workdir={tmp_path / 'two'}"], tmp_path)

    assert [p.wait(600) for p in processes] == [0, 0], logs(tmp_path)
    found, expected = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(found) == 6
    # A start moved by 1e-7 changes these losses by 1.2e-7, the last digit of float32.
    assert_close(found, expected, 1e-6)
    reports = [json.loads((tmp_path / run / "report" / "metrics.json").read_text()) for run in ("one", "two")]
    for split in ("valid", "test"):
        one, two = (dict(report[split]["mean"]) for report in reports)
        # Scores that are equal to the last digit may change places: that of a positive and one of up to 8 negatives,
        # for one of the 6 labels.
        assert two.pop("auc") == pytest.approx(one.pop("auc"), abs=1 / 48)
        ours, theirs = ({k: f"{v:.3f}" for k, v in mean.items()} for mean in (one, two))
        assert ours == theirs
    assert (tmp_path / "two" / "report" / "index.html").exists()
    # Only the first process shows a table and writes a log.
    assert "mean" in (tmp_path / "process0.log").read_text()
    assert "mean" not in (tmp_path / "process1.log").read_text()


def wait_for_a_step(run: Path, processes: list[subprocess.Popen], directory: Path) -> None:
    deadline = time.monotonic() + 600
    while not ((run / "steps.jsonl").exists() and losses(run)):
        assert all(p.poll() is None for p in processes), logs(directory)
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_the_loss_of_a_process_ends_the_others(arguments: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    survivor, dead = start_two([*arguments, f"--workdir={run}"], tmp_path)
    try:
        wait_for_a_step(run, [survivor, dead], tmp_path)
        dead.send_signal(signal.SIGKILL)
        assert survivor.wait(600) != 0
    finally:
        for process in (survivor, dead):
            process.kill()
            process.wait()

    # Ours where a computation fails first, JAX's where it misses signs of life.
    told = (tmp_path / "process0.log").read_text()
    assert "lost another one" in told or "another task died" in told, told


@pytest.mark.slow
def test_sigterm_to_all_processes_saves_and_ends_them_well(arguments: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    processes = start_two([*arguments, f"--workdir={run}"], tmp_path)
    wait_for_a_step(run, processes, tmp_path)

    for process in processes:
        process.send_signal(signal.SIGTERM)

    assert [p.wait(600) for p in processes] == [0, 0], logs(tmp_path)
    assert f"Stopped on request: {Checkpoints(run).find_latest_step()} of" in (tmp_path / "process0.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process_id=0"], "--process_id is for --distributed, which was not given"),
        (["--distributed", "--process_id=0"], "the processes did not find each other"),
    ],
)
def test_processes_that_cannot_join_report_what_to_give(
    arguments: list[str], tmp_path: Path, flags: list[str], message: str
) -> None:
    process = start([*arguments, f"--workdir={tmp_path / 'run'}", *flags], tmp_path / "process.log", devices=1)

    assert process.wait(600) == 1
    assert message in (tmp_path / "process.log").read_text()

"""Sweeps: what is refused before any run starts, one that is stopped and resumed, and hand-computed spreads."""

import io
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from configs import lf_rnn
from mme2e_jax.commands import subprocess_run
from mme2e_jax.commands.main import main as program
from mme2e_jax.commands.sweep import parse_grid, plan_runs, summary, summary_table
from mme2e_jax.errors import UserError
from tests.helpers.runs import run
from tests.helpers.synthetic import shrunk_run

CONFIG = "configs/mini_sparse.py"
THRESHOLDS = "config.model.sparse_threshold"


def main(argv: Sequence[str]) -> int:
    """The exit status of the program."""
    with pytest.raises(SystemExit) as exit:
        program(["launch.py", "--mode=sweep", *argv[1:]], None)
    return int(exit.value.code or 0)


def test_runs_are_all_combinations_by_point_with_readable_names() -> None:
    grid = parse_grid([f"{THRESHOLDS}=0.5, 0.8", "config.optim.lr=1e-3"])

    assert [run.name for run in plan_runs(CONFIG, ["0", "1"], grid, [], Path())] == [
        "model.sparse_threshold=0.5,optim.lr=1e-3,seed=0",
        "model.sparse_threshold=0.5,optim.lr=1e-3,seed=1",
        "model.sparse_threshold=0.8,optim.lr=1e-3,seed=0",
        "model.sparse_threshold=0.8,optim.lr=1e-3,seed=1",
    ]


def test_a_name_is_one_directory_for_any_value() -> None:
    (planned,) = plan_runs(CONFIG, ["0"], {"data.dir": ["../else/where"]}, [], Path())

    assert planned.name == "data.dir=..%2Felse%2Fwhere,seed=0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"Expected --config=FILE"),
        ([f"--config={CONFIG}"], r"Expected --seeds=0,1,2"),
        ([f"--config={CONFIG}", "--seeds=0,x"], r"config\.seed: expected a whole number .* found 'x'"),
        ([f"--config={CONFIG}", "--seeds=0,0"], r"seed=0 and seed=0 would be the same run"),
        ([f"--config={CONFIG}", "--seeds=-1"], r"config\.seed: expected a whole number of at least 0.* found -1"),
        ([f"--config={CONFIG}", "--seeds=0", f"--grid={THRESHOLDS}=0.5,1.5"], r"at most 1, found 1\.5"),
        ([f"--config={CONFIG}", "--seeds=0", f"--grid={THRESHOLDS}=0.5,0.50"], r"would be the same run"),
        ([f"--config={CONFIG}", "--seeds=0", "--grid=config.model.treshold=1"], r"treshold: no such key. Valid keys"),
        ([f"--config={CONFIG}", "--seeds=0", "--grid=optim.lr=1"], r"expected config\.KEY=VALUE,VALUE"),
        ([f"--config={CONFIG}", "--seeds=0", "--grid=config.optim.lr=1,"], r"expected config\.KEY=VALUE,VALUE"),
        ([f"--config={CONFIG}", "--seeds=0", *["--grid=config.optim.lr=1"] * 2], r"optim\.lr is given twice"),
        ([f"--config={CONFIG}", "--seeds=0", "--grid=config.seed=1"], r"give the seeds with --seeds"),
        ([f"--config={CONFIG}", "--seeds=0", "--config.seed=1"], r"config\.seed: the sweep itself sets this key"),
        ([f"--config={CONFIG}", "--seeds=0", "--config.optim.lr", "1"], r"with an equals sign"),
        (["--config=configs/mosei_sparse.py", "--seeds=0"], r"No prepared records of mosei"),
        ([f"--config={CONFIG}", "--seeds=0", "more"], r"Expected flags only, found 'more'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_any_run(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message):
        main(["sweep", *arguments, f"--out={out}"])
    assert not out.exists()


def test_a_run_of_a_sweep_resumes_without_the_teacher_that_it_started_from(tmp_path: Path) -> None:
    common = [f"init.teacher={tmp_path / 'gone'}", "optim.dense_epochs=0"]
    (tmp_path / "seed=0" / "checkpoints" / "8").mkdir(parents=True)

    assert [run.seed for run in plan_runs(CONFIG, ["0"], {}, common, tmp_path)] == ["0"]
    with pytest.raises(UserError, match=r"config\.init\.teacher: expected the directory of a dense run"):
        plan_runs(CONFIG, ["0", "1"], {}, common, tmp_path)


def arguments(records: Path, out: Path) -> list[str]:
    """Of a sweep of the shrunk baseline."""
    given = [a for a in shrunk_run(lf_rnn, records, out) if not a.startswith(("--workdir", "--config.mesh"))]
    return [*given, f"--out={out}"]


def launch_here(arguments: Sequence[str], workdir: Path) -> None:
    """Runs the launcher in this process, which has its programs."""
    try:
        run(*arguments)
    except UserError as error:
        raise subprocess_run.RunFailed(str(error)) from error


@pytest.mark.parametrize("here", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_sweep_resumes_survives_a_failure_and_reports_the_spread(
    feature_records: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    here: bool,
) -> None:
    if here:
        monkeypatch.setattr(subprocess_run, "_launch", launch_here)
    common = [*arguments(feature_records, tmp_path), "--config.model.modalities=t"]
    assert main(["sweep", *common, "--seeds=0", "--grid=config.mesh.devices=1"]) == 0
    first = tmp_path / "mesh.devices=1,seed=0"
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}

    # There are not so many devices, which only the run itself finds out.
    assert main(["sweep", *common, "--seeds=0,1", "--grid=config.mesh.devices=64,1"]) == 1

    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert [(run["name"], "report" in run) for run in found["runs"]] == [
        ("mesh.devices=64,seed=0", False),
        ("mesh.devices=64,seed=1", False),
        ("mesh.devices=1,seed=0", True),
        ("mesh.devices=1,seed=1", True),
    ]
    assert "config.mesh.devices: expected at most" in found["runs"][0]["error"]
    (point,) = found["points"]
    assert point["values"] == {"mesh.devices": "1"}
    reports = [json.loads((tmp_path / f"mesh.devices=1,seed={k}/report/metrics.json").read_text()) for k in (0, 1)]
    for split in ("valid", "test"):
        values = [report[split]["mean"]["auc"] for report in reports]
        assert values[0] != values[1]
        assert point[split]["auc"]["mean"] == pytest.approx(statistics.mean(values))
        assert point[split]["auc"]["std"] == pytest.approx(statistics.stdev(values))
    said = capfd.readouterr().out
    assert f"{point['test']['auc']['mean']:.3f} ± {point['test']['auc']['std']:.3f}" in said
    assert "Failed: mesh.devices=64,seed=1" in said


@pytest.mark.slow
def test_a_stopped_sweep_lets_the_run_save_and_resumes_there(feature_records: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mme2e_jax.sweep", *arguments(feature_records, tmp_path), "--seeds=3"]
    command += ["--config.mesh.devices=1", "--config.optim.epochs=200", "--config.checkpoint.every_steps=0"]
    workdir = tmp_path / "seed=3"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    log, deadline = workdir / "steps.jsonl", time.monotonic() + 600
    while not (log.exists() and log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=600)

    assert process.returncode == 0
    assert f"Stopped on request in {workdir}. The same command resumes the run." in said
    printed = (workdir / "launch.log").read_text()
    assert "of 600 steps are saved. The same command resumes the run." in printed
    done = int(printed.split("Stopped on request: ")[1].split()[0])

    shorter = [argument for argument in command[3:] if "epochs" not in argument]
    assert main(["sweep", *shorter, f"--config.optim.epochs={done // 3 + 1}"]) == 0

    assert f"Resuming at step {done}" in (workdir / "launch.log").read_text()
    assert (tmp_path / "sweep.json").exists()


def report(f1: float, auc: float | None) -> dict:
    return {"valid": {"mean": {"f1": f1 / 2, "auc": auc}}, "test": {"mean": {"f1": f1, "auc": auc}}}


def test_the_spread_is_that_of_a_sample() -> None:
    found = summary([report(0.2, 0.5), report(0.4, 0.5), report(0.6, 0.5)])

    # Squares of -0.2, 0, 0.2 over 2 degrees of freedom: 0.04.
    assert found["test"]["f1"] == {"mean": pytest.approx(0.4), "std": pytest.approx(0.2), "n": 3}
    assert found["valid"]["f1"] == {"mean": pytest.approx(0.2), "std": pytest.approx(0.1), "n": 3}
    assert found["test"]["auc"]["std"] == 0.0
    assert found["runs"] == 3


def test_a_metric_that_a_run_does_not_have_is_left_out_of_the_mean() -> None:
    found = summary([report(0.2, None), report(0.4, 0.7)])

    assert found["test"]["auc"] == {"mean": 0.7, "std": None, "n": 1}
    assert summary([report(0.2, None)])["test"]["auc"] == {"mean": None, "std": None, "n": 0}


def test_the_table_has_a_row_for_each_metric_of_each_point_and_names_the_deviation() -> None:
    points = [
        {"values": {"optim.lr": "0.1"}, **summary([report(0.2, 0.5), report(0.4, 0.7)])},
        {"values": {"optim.lr": "0.2"}, **summary([report(0.3, None)])},
    ]
    output = io.StringIO()
    Console(file=output, width=100).print(summary_table(points))
    text = output.getvalue()

    assert "sample standard deviation (ddof=1)" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["optim.lr=0.1", "2", "f1", "0.150 ± 0.071", "0.300 ± 0.141"],
        ["", "", "auc", "0.600 ± 0.141", "0.600 ± 0.141"],
        ["optim.lr=0.2", "1", "f1", "0.150", "0.300"],
        ["", "", "auc", "", ""],
    ]

"""The step log has one line for each step."""

import json
from pathlib import Path

import jax.numpy as jnp

from mme2e_jax.training.step import StepMetrics
from mme2e_jax.training.step_log import StepLog


def log_steps(workdir: Path, start: int, losses: list[float]) -> None:
    log = StepLog(workdir, start)
    for step, loss in enumerate(losses, start):
        log.after_step(step, StepMetrics(jnp.float32(loss), jnp.float32(2.0), {}), {"input": 0.5, "step": 0.25})
    log.close()


def test_a_line_has_step_loss_and_where_time_went(tmp_path: Path) -> None:
    log_steps(tmp_path, 0, [0.5])

    assert json.loads((tmp_path / "steps.jsonl").read_text()) == {
        "step": 0,
        "loss": 0.5,
        "gradient_norm": 2.0,
        "seconds": {"input": 0.5, "step": 0.25},
    }


def test_steps_that_are_made_again_are_logged_once(tmp_path: Path) -> None:
    log_steps(tmp_path, 0, [0.0, 1.0, 2.0, 3.0])
    with (tmp_path / "steps.jsonl").open("a") as log:
        log.write('{"step": 4, "lo')
    log_steps(tmp_path, 2, [20.0, 30.0])

    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(0, 0.0), (1, 1.0), (2, 20.0), (3, 30.0)]


def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    log_steps(tmp_path, 0, [float("nan"), float("inf")])

    assert [json.loads(line)["loss"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()] == [None, None]

"""What the terminal shows."""

import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.evaluation import metrics
from mme2e_jax.training.progress import ProgressBar
from mme2e_jax.training.step import StepMetrics


def a_validation() -> metrics.Metrics:
    score = np.array([[0.9, 0.2], [0.1, 0.8], [0.8, 0.9]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return metrics.compute(score, truth, ("happy", "sad"), {"happy": 0.5, "sad": 0.5})


def test_a_run_that_goes_on_with_a_validation_shows_the_epochs_row(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(("happy", "sad"), steps_per_epoch=3, epochs=2, batch_size=8, start=3)

    bar.after_epoch(0, 3, 0.5, a_validation())
    bar.close()

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [["epoch", "loss", "happy", "sad", "F1", "AUC", "active"], ["1", "0.5000", *["1.000"] * 4]]


def test_in_a_log_file_a_line_a_minute_tells_how_far_a_long_epoch_is(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0
    bar = ProgressBar(("happy", "sad"), steps_per_epoch=100, epochs=2, batch_size=8, start=10, now=lambda: seconds)

    def steps(first: int, last: int, each: float) -> None:
        nonlocal seconds
        for step in range(first, last + 1):
            seconds += each
            bar.after_step(step, StepMetrics(jnp.float32(0.5), jnp.float32(1.0), {}), {})

    # The first step compiles and tells no speed.
    steps(10, 10, 90.0)
    # Then 25 s a step: the line is due after three.
    steps(11, 14, 25.0)
    # An epoch's row puts the next line off, and its validation is not time of steps.
    seconds += 35.0
    bar.after_epoch(0, 15, 0.5, a_validation())
    steps(15, 16, 32.0)
    bar.close()

    _, first, second, row, third = capsys.readouterr().out.splitlines()
    assert first == "  epoch 1/2, loss 0.500, step 11/200"
    # 3 steps of 8 utterances in 75 s, 186 steps left.
    assert second == "  epoch 1/2, loss 0.500, step 14/200, 0.32 utt/s, 1:17:30 left"
    assert row.split()[0] == "1"
    # 2 steps in 64 s, 183 left.
    assert third == "  epoch 1/2, loss 0.500, step 17/200, 0.25 utt/s, 1:37:36 left"


def test_a_short_epoch_prints_its_row_and_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0
    bar = ProgressBar(("happy", "sad"), steps_per_epoch=3, epochs=1, batch_size=8, start=0, now=lambda: seconds)
    for step in range(3):
        seconds += 19.0
        bar.after_step(step, StepMetrics(jnp.float32(0.5), jnp.float32(1.0), {}), {})
    bar.after_epoch(0, 3, 0.5, a_validation())
    bar.close()

    assert len(capsys.readouterr().out.splitlines()) == 2

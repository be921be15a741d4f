"""What the terminal shows."""

import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.evaluation import metrics
from mme2e_jax.training.progress import ProgressBar
from mme2e_jax.training.step import StepMetrics
from mme2e_jax.training.timing import Clock


def a_validation() -> metrics.Metrics:
    score = np.array([[0.9, 0.2], [0.1, 0.8], [0.8, 0.9]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return metrics.compute(score, truth, ("happy", "sad"), {"happy": 0.5, "sad": 0.5})


def test_a_run_that_goes_on_with_a_validation_shows_the_epochs_row(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(("happy", "sad"), steps_per_epoch=3, epochs=2, batch_size=8, start=3, clock=Clock())

    bar.after_epoch(0, 3, 0.5, a_validation())
    bar.close()

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [["epoch", "loss", "happy", "sad", "F1", "AUC", "active"], ["1", "0.5000", *["1.000"] * 4]]


class Run:
    """A run of two epochs of 100 steps whose time the test sets."""

    def __init__(self, start: int):
        self.seconds = 0.0
        self.clock = Clock(lambda: self.seconds)
        self.bar = ProgressBar(("happy", "sad"), 100, 2, 8, start, self.clock, lambda: self.seconds)
        self.step = start

    def passes(self, activity: str, seconds: float) -> None:
        with self.clock.measure(activity):
            self.seconds += seconds

    def steps(self, count: int, each: float) -> None:
        for _ in range(count):
            self.seconds += each
            self.bar.after_step(self.step, StepMetrics(jnp.float32(0.5), jnp.float32(1.0), {}), self.clock.lap())
            self.step += 1


def test_in_a_log_file_a_line_a_minute_tells_how_far_a_long_epoch_is(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(start=90)
    run.bar.waiting("compiling 1 of 2: 32 tokens, 96 frames, 120 chunks (training)")
    run.passes("compilation", 90.0)
    # The first step, and then 25 s a step: lines are due at once and after three.
    run.steps(5, 25.0)
    run.steps(5, 2.0)
    # An epoch's row puts the next line off. Its validation and saving are no time of steps, but they will come again.
    run.passes("validation", 40.0)
    run.passes("save", 2.0)
    run.bar.after_epoch(0, 100, 0.5, a_validation())
    run.steps(2, 31.0)
    run.bar.close()

    _, compiling, first, second, row, third = capsys.readouterr().out.splitlines()
    assert compiling == "  compiling 1 of 2: 32 tokens, 96 frames, 120 chunks (training)"
    assert first == "  epoch 1/2, loss 0.500, step 91/200"
    # 3 steps of 8 utterances in 75 s, 106 steps left; no validation is known.
    assert second == "  epoch 1/2, loss 0.500, step 94/200, 0.32 utt/s, 0:44:10 left"
    assert row.split()[0] == "1"
    # 11 steps in 172 s: 98 left, and a validation of 42 s.
    assert third == "  epoch 2/2, loss 0.500, step 102/200, 0.512 utt/s, 0:26:14 left"


def test_a_short_epoch_prints_its_row_and_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(start=0)
    run.steps(3, 19.0)
    run.bar.after_epoch(0, 3, 0.5, a_validation())
    run.bar.close()

    assert len(capsys.readouterr().out.splitlines()) == 2


def test_stages_with_the_same_share_of_sites_show_one_number(capsys: pytest.CaptureFixture[str]) -> None:
    active = {"v": jnp.array([0.25, 0.25, 0.25]), "a": jnp.array([0.5, 0.25, 0.125])}
    run = Run(start=99)
    run.bar.after_step(99, StepMetrics(jnp.float32(0.5), jnp.float32(1.0), active), run.clock.lap())
    run.bar.after_epoch(0, 100, 0.5, a_validation())
    run.bar.close()

    assert capsys.readouterr().out.splitlines()[-1].split()[-2:] == ["0.25", "0.50/0.25/0.12"]

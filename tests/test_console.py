"""What the terminal shows."""

import numpy as np
import pytest

from mme2e_jax import metrics
from mme2e_jax.console import ProgressBar


def test_a_run_that_goes_on_with_a_validation_shows_the_epochs_row(capsys: pytest.CaptureFixture[str]) -> None:
    score = np.array([[0.9, 0.2], [0.1, 0.8], [0.8, 0.9]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    valid = metrics.compute(score, truth, ("happy", "sad"), {"happy": 0.5, "sad": 0.5})
    bar = ProgressBar(("happy", "sad"), steps_per_epoch=3, epochs=2, batch_size=8, start=3)

    bar.after_epoch(0, 3, 0.5, valid)
    bar.close()

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [["epoch", "loss", "happy", "sad", "F1", "AUC", "active"], ["1", "0.5000", *["1.000"] * 4]]

"""The times of a run, measured with a clock that the test sets."""

from types import SimpleNamespace

import pytest

from mme2e_jax.training import timing
from mme2e_jax.training.timing import Clock


class HandSet:
    """Clock that shows the time it was set to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> HandSet:
    return HandSet(monkeypatch)


def test_a_lap_is_divided_and_the_rest_is_the_step(time: HandSet) -> None:
    measured = Clock()

    def batches():
        for number in range(2):
            time.passes(0.25)
            yield number

    laps = []
    for _ in measured.measure_input(batches()):
        time.passes(2)
        with measured.measure("save"):
            time.passes(0.5)
        laps.append(measured.lap())

    assert laps == [{"input": 0.25, "save": 0.5, "validation": 0.0, "step": 2.0}] * 2
    assert measured.total == {"input": 0.5, "save": 1.0, "validation": 0.0}


def test_what_comes_after_a_lap_is_in_the_next(time: HandSet) -> None:
    measured = Clock()
    time.passes(1)
    assert measured.lap()["step"] == 1.0
    with measured.measure("validation"):
        time.passes(3)
    time.passes(1)

    assert measured.lap() == {"input": 0.0, "save": 0.0, "validation": 3.0, "step": 1.0}


def test_the_time_of_a_failed_activity_counts(time: HandSet) -> None:
    measured = Clock()

    def fail() -> None:
        with measured.measure("save"):
            time.passes(2)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()

    assert measured.total["save"] == 2.0


def test_the_summary_has_the_share_of_each(time: HandSet) -> None:
    measured = Clock()
    time.passes(15)
    for what, seconds in (("input", 2.0), ("save", 1.0), ("validation", 2.0)):
        with measured.measure(what):
            time.passes(seconds)

    assert measured.summary() == "20 s of training: 75.0% steps, 10.0% input, 5.0% save, 10.0% validation"

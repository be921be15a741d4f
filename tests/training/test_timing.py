"""The times of a run, and the time that is left, measured with a clock that the test sets."""

import pytest

from mme2e_jax.training.timing import Clock


class HandSet:
    """Clock that shows the time it was set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> HandSet:
    return HandSet()


def test_a_lap_is_divided_and_the_rest_is_the_step(time: HandSet) -> None:
    measured = Clock(time)

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

    assert laps == [{"input": 0.25, "compilation": 0.0, "save": 0.5, "validation": 0.0, "step": 2.0}] * 2
    assert measured.total == {"input": 0.5, "compilation": 0.0, "save": 1.0, "validation": 0.0}


def test_what_comes_after_a_lap_is_in_the_next(time: HandSet) -> None:
    measured = Clock(time)
    time.passes(1)
    assert measured.lap()["step"] == 1.0
    with measured.measure("validation"):
        time.passes(3)
    time.passes(1)

    assert measured.lap() == {"input": 0.0, "compilation": 0.0, "save": 0.0, "validation": 3.0, "step": 1.0}


def test_the_time_of_a_failed_activity_counts(time: HandSet) -> None:
    measured = Clock(time)

    def fail() -> None:
        with measured.measure("save"):
            time.passes(2)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()

    assert measured.total["save"] == 2.0


def test_the_summary_has_the_share_of_each(time: HandSet) -> None:
    measured = Clock(time)
    time.passes(13)
    for what, seconds in (("input", 2.0), ("compilation", 2.0), ("save", 1.0), ("validation", 2.0)):
        with measured.measure(what):
            time.passes(seconds)

    said = "20 s of training: 65.0% steps, 10.0% input, 10.0% compilation, 5.0% save, 10.0% validation"
    assert measured.summary() == said


def test_three_steps_after_the_first_of_a_program_give_an_estimate_without_compilation(time: HandSet) -> None:
    measured = Clock(time)

    def step(seconds: float, program: str = "a", *, compilation: float = 0.0, undisturbed: bool = True) -> float | None:
        with measured.measure("compilation"):
            time.passes(compilation)
        time.passes(seconds)
        measured.lap(program, undisturbed=undisturbed)
        return measured.seconds_left(10, 0)

    assert [step(30.0, compilation=60.0), step(2.0), step(3.0), step(4.0)] == [None, None, None, 30.0]
    # Beside a compilation a step takes longer.
    assert step(100.0, undisturbed=False) == 30.0
    # Waiting for a program that a shape needs.
    assert step(3.0, compilation=50.0) == 30.0
    # Another program has its own speed.
    assert [step(9.0, "b"), step(1.0, "b"), step(1.0, "b"), step(1.0, "b")] == [None, None, None, 10.0]
    assert measured.seconds_per_step() == 1.0


def test_after_the_first_epoch_the_time_left_is_within_a_quarter_of_the_truth(time: HandSet) -> None:
    """A run like that of the mini corpus, with disturbed steps, a slower first validation and saving."""
    measured, epochs, per_epoch = Clock(time), 30, 14
    told: list[tuple[float, float | None]] = []
    for step in range(epochs * per_epoch):
        if step == 0:
            with measured.measure("compilation"):
                time.passes(20)
        disturbed = step < 10
        # Steps differ by up to a third, in a fixed order; every 50th takes three times as long.
        time.passes(
            (0.3 + 0.1 * (step * 7 % 10) / 10) * (2.0 if disturbed else 1.0) * (3.0 if step % 50 == 49 else 1.0)
        )
        with measured.measure("input"):
            time.passes(0.01)
        measured.lap("training", undisturbed=not disturbed)
        told.append((time.now, measured.seconds_left(epochs * per_epoch - step - 1, epochs - step // per_epoch)))
        if step % per_epoch == per_epoch - 1:
            if step < per_epoch:
                with measured.measure("compilation"):
                    time.passes(8)
            with measured.measure("validation"):
                time.passes(1.2 if step < per_epoch else 0.8)
            with measured.measure("save"):
                time.passes(0.2)

    assert [left for _, left in told[:13]] == [None] * 12 + [told[12][1]]
    for when, left in told[per_epoch:]:
        truth = time.now - when
        assert left is not None
        # At the end a single step that differs is a large share of what is left.
        assert left == pytest.approx(truth, rel=0.25, abs=1.0)

"""Measures how a run spends its time, and estimates the rest."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import TypeVar

T = TypeVar("T")
# Steps that an estimate needs, and the number of latest steps that it uses.
_FEWEST, _LATEST = 3, 200


class Clock:
    """Host seconds spent on steps and other activities; devices may work at the same time."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Args: now: monotonic clock in seconds."""
        self._now = now
        self._start = self._lap = now()
        self.total = {"input": 0.0, "compilation": 0.0, "save": 0.0, "validation": 0.0}
        self._seen = dict(self.total)
        self._program: Hashable = None
        self._steps: deque[float] = deque(maxlen=_LATEST)
        self._validation = 0.0

    @contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Adds the time of the `with` block to an activity of `total`."""
        start = self._now()
        try:
            yield
        finally:
            self.total[activity] = self.total.get(activity, 0.0) + self._now() - start

    def measure_input(self, batches: Iterable[T]) -> Iterator[T]:
        """Yields the batches; the wait for each counts as input."""
        iterator = iter(batches)
        while True:
            with self.measure("input"):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            yield batch

    def lap(self, program: Hashable = "", *, undisturbed: bool = True) -> dict[str, float]:
        """Ends a step; returns the seconds since the last lap by activity, the rest as "step".

        Estimates use undisturbed steps of the latest program only, without the first, which starts it.
        """
        now = self._now()
        parts = {name: seconds - self._seen.get(name, 0.0) for name, seconds in self.total.items()}
        parts["step"] = now - self._lap - sum(parts.values())
        self._lap, self._seen = now, dict(self.total)
        saving = parts["save"]
        if parts["validation"]:
            self._validation, saving = parts["validation"] + saving, 0.0
        if program != self._program:
            self._program = program
            self._steps.clear()
        elif undisturbed:
            self._steps.append(parts["input"] + parts["step"] + saving)
        return parts

    def seconds_per_step(self) -> float | None:
        """Mean of the latest steps without compilation and validation; None until three are known."""
        return fmean(self._steps) if len(self._steps) >= _FEWEST else None

    def seconds_left(self, steps: int, validations: int) -> float | None:
        """Time for the steps and validations that are left, with the saving after each; None until it is known."""
        step = self.seconds_per_step()
        return None if step is None else steps * step + validations * self._validation

    def summary(self) -> str:
        """Shares of the time since the clock was created, as a sentence."""
        whole = self._now() - self._start
        shares = {"steps": whole - sum(self.total.values())} | self.total
        parts = (f"{seconds / whole:.1%} {name}" for name, seconds in shares.items())
        return f"{whole:.0f} s of training: {', '.join(parts)}"

"""Measures how a run spends its time."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Host seconds spent on input, steps, saving and validation; devices may work at the same time."""

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()
        self.total = {"input": 0.0, "save": 0.0, "validation": 0.0}
        self._seen = dict(self.total)

    @contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Adds the time of the `with` block to an activity: "input", "save" or "validation"."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.total[activity] += time.perf_counter() - start

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

    def lap(self) -> dict[str, float]:
        """Seconds since the last lap by activity; the rest is "step"."""
        now = time.perf_counter()
        parts = {name: seconds - self._seen[name] for name, seconds in self.total.items()}
        parts["step"] = now - self._lap - sum(parts.values())
        self._lap, self._seen = now, dict(self.total)
        return parts

    def summary(self) -> str:
        """Shares of the time since the clock was created, as a sentence."""
        whole = time.perf_counter() - self._start
        shares = self.total | {"steps": whole - sum(self.total.values())}
        parts = (f"{shares[k] / whole:.1%} {k}" for k in ("steps", "input", "save", "validation"))
        return f"{whole:.0f} s of training: {', '.join(parts)}"

"""Where the time of a run goes."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Seconds that a run waited for its input, worked on steps, saved and validated; devices work beside some of it."""

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()
        self.total = {"input": 0.0, "save": 0.0, "validation": 0.0}
        self._seen = dict(self.total)

    @contextmanager
    def spent_on(self, what: str) -> Iterator[None]:
        """Counts what passes as time for `what`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.total[what] += time.perf_counter() - start

    def waiting_for(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches; the wait for each counts as input."""
        iterator = iter(batches)
        while True:
            with self.spent_on("input"):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            yield batch

    def lap(self) -> dict[str, float]:
        """Seconds since the last lap, by what they were for; what is for nothing else is for "step"."""
        now = time.perf_counter()
        parts = {what: seconds - self._seen[what] for what, seconds in self.total.items()}
        parts["step"] = now - self._lap - sum(parts.values())
        self._lap, self._seen = now, dict(self.total)
        return parts

    def summary(self) -> str:
        """The shares of all time since the clock was made, in words."""
        whole = time.perf_counter() - self._start
        shares = self.total | {"steps": whole - sum(self.total.values())}
        words = (f"{shares[k] / whole:.1%} {k}" for k in ("steps", "input", "save", "validation"))
        return f"{whole:.0f} s of training: {', '.join(words)}"

"""Requests to stop a run: SIGTERM, as schedulers send it, and Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils

T = TypeVar("T")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A run was stopped on request; the message gives its progress and how to resume."""


class Interrupted(Exception):
    """A request to stop came while the run waited for a program or went through batches."""


class StopRequests:
    """Catches requests to stop, so that a run can save first; a second one stops at once.

    In a run of several processes, JAX catches SIGTERM and makes all of them stop after the same step.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def should_stop(self, step: int) -> bool:
        """Whether to stop after `step` steps; call it once per step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received is not None

    def interruptible(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items; raises `Interrupted` before the next one after a request to stop."""
        for item in items:
            if self._received is not None:
                raise Interrupted
            yield item

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise KeyboardInterrupt
        self._received = number
        # Not by the console, whose lock the interrupted code may hold.
        os.write(2, b"\nStopping as soon as this step is done. The same again stops at once.\n")

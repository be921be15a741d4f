"""Turns SIGTERM and Ctrl-C into requests to stop.

Schedulers send SIGTERM before they take a machine away.
"""

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
    """A run ended because it was asked to: the message says where it stands and how to go on."""


class Interrupted(Exception):
    """What was asked for is not wanted any more."""


class StopRequests:
    """Notices requests to stop, so that a run can save first; a second one stops at once.

    In a run of several processes JAX notices SIGTERM and makes all of them stop after the same step.
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

    def after(self, step: int) -> bool:
        """Whether to stop now that `step` steps are done; ask once a step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received is not None

    def interrupt(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until a stop is requested.

        Raises:
          Interrupted: before the next item, then.
        """
        for item in items:
            if self._received is not None:
                raise Interrupted
            yield item

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise KeyboardInterrupt
        self._received = number

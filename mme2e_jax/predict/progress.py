"""Progress of prediction on one or many files."""

import datetime
import time
from collections.abc import Callable

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mme2e_jax.runtime.console import console

_SECONDS_BETWEEN_LINES = 60.0  # without a terminal
_PACE_SECONDS = 600.0  # time over which the pace is averaged


class FileProgress:
    """A bar over the bytes of all files, with the time left; without a terminal, a line a minute."""

    def __init__(self, sizes: list[int], now: Callable[[], float] = time.monotonic):
        """Args: sizes: bytes of the files; now: monotonic clock in seconds."""
        self._files, self._done, self._skipped, self._bytes, self._now = len(sizes), 0, 0, 0, now
        self._printed = now()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            get_time=now,
            speed_estimate_period=_PACE_SECONDS,
        )
        self._task: TaskID = self._progress.add_task("", total=sum(sizes), left="")
        self._progress.start()
        self.advance(0, 0.0)

    def __enter__(self) -> "FileProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def skip(self, size: int) -> None:
        """Counts a file as done that takes no time."""
        self._skipped += 1
        self._progress.update(self._task, total=(self._progress.tasks[0].total or 0) - size)

    def advance(self, size: int, share: float) -> None:
        """Shows that a share in [0, 1] of the current file is done; 1 ends the file."""
        if share == 1.0:
            self._done, self._bytes = self._done + 1, self._bytes + size
        description = f"{self._done + self._skipped} of {self._files} files"
        completed = self._bytes + (size * share if share < 1.0 else 0)
        self._progress.update(self._task, completed=completed, description=description)
        seconds = self._progress.tasks[0].time_remaining
        left = "" if seconds is None else f"{datetime.timedelta(seconds=round(seconds))} left"
        self._progress.update(self._task, left=left)
        if not console.is_terminal and self._now() - self._printed >= _SECONDS_BETWEEN_LINES:
            console.print(f"  {description}" + (f", {left}" if left else ""))
            self._printed = self._now()

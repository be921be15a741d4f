"""Shows training as a progress bar and one row per epoch."""

import datetime
import time
from collections.abc import Callable, Mapping, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.console import console
from mme2e_jax.training.hooks import Hook
from mme2e_jax.training.step import StepMetrics
from mme2e_jax.training.timing import Clock

SECONDS_BETWEEN_LINES = 60.0  # interval of the lines that replace the bar in a log file


class ProgressBar(Hook):
    """A bar with pace and time left (without a terminal, a line a minute), and one printed row per epoch."""

    def __init__(
        self,
        label_names: Sequence[str],
        steps_per_epoch: int,
        epochs: int,
        batch_size: int,
        start: int,
        clock: Clock,
        now: Callable[[], float] = time.monotonic,
    ):
        """Args: start: steps completed before; clock: clock of the run; now: monotonic clock in seconds."""
        self._labels, self._per_epoch, self._epochs, self._batch = label_names, steps_per_epoch, epochs, batch_size
        self._clock, self._now = clock, now
        self._printed = now()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[pace]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        # Empty until the first step: a resumed run may start with a validation.
        self._active: Mapping[str, Sequence[float]] = {}
        self._task = self._progress.add_task("training", total=steps_per_epoch * epochs, completed=start, pace="")
        self._progress.start()
        self._print_row(["epoch", "loss", *(name[:8] for name in label_names), "F1", "AUC", "active"], "bold")

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        self._active = {m: [float(share) for share in stages] for m, stages in metrics.active.items()}
        epoch, done = step // self._per_epoch, step + 1
        pace = self._pace(done, epoch)
        description = f"epoch {epoch + 1}/{self._epochs}, loss {float(metrics.loss):.3f}"
        self._progress.update(self._task, completed=done, pace=pace.removeprefix(", "), description=description)
        now = self._now()
        if not console.is_terminal and now - self._printed >= SECONDS_BETWEEN_LINES:
            console.print(f"  {description}, step {done}/{self._per_epoch * self._epochs}{pace}")
            self._printed = now

    def waiting(self, reason: str) -> None:
        self._progress.update(self._task, description=reason, pace="")
        if not console.is_terminal:
            console.print(f"  {reason}")

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        f1 = [f"{valid.per_label[name]['f1']:.3f}" for name in self._labels]
        active = " ".join(map(_shares, self._active.values()))
        mean = [f"{valid.mean['f1']:.3f}", f"{valid.mean['auc']:.3f}"]
        self._print_row([str(epoch + 1), f"{loss:.4f}", *f1, *mean, active])
        self._printed = self._now()

    def close(self) -> None:
        self._progress.stop()

    def _pace(self, done: int, epoch: int) -> str:
        """End of a line: utterances per second and time left, or nothing before they are known."""
        per_step = self._clock.seconds_per_step()
        left = self._clock.seconds_left(self._per_epoch * self._epochs - done, self._epochs - epoch)
        if not per_step or left is None:
            return ""
        return f", {self._batch / per_step:.3g} utt/s, {datetime.timedelta(seconds=round(left))} left"

    def _print_row(self, cells: Sequence[str], style: str = "") -> None:
        *fixed, last = cells
        self._progress.console.print(" ".join(f"{c:>8}" for c in fixed) + f"  {last}", style=style)


def _shares(stages: Sequence[float]) -> str:
    """Shares of the stages, or one share if all are the same, as where the first stage selects for all."""
    cells = [f"{share:.2f}" for share in stages]
    return cells[0] if len(set(stages)) == 1 else "/".join(cells)

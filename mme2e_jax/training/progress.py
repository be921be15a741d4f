"""Shows training as a progress bar and one row per epoch."""

import datetime
import time
from collections.abc import Callable, Mapping, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.console import console
from mme2e_jax.training.hooks import Hook
from mme2e_jax.training.step import StepMetrics

# Interval of the lines that replace the bar in a log file.
SECONDS_BETWEEN_LINES = 60.0


class ProgressBar(Hook):
    """A bar with utterances per second and time left, and one printed row per epoch.

    If the output is not a terminal, a line replaces the bar, at most once a minute.
    """

    def __init__(
        self,
        label_names: Sequence[str],
        steps_per_epoch: int,
        epochs: int,
        batch_size: int,
        start: int,
        now: Callable[[], float] = time.monotonic,
    ):
        """Args: start: steps completed before; now: monotonic clock in seconds."""
        self._labels, self._per_epoch, self._epochs, self._batch = label_names, steps_per_epoch, epochs, batch_size
        self._now = now
        self._printed = now()
        # Time and steps from which speed is measured; set after the first step, which compiles.
        self._since: tuple[float, int] | None = None
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        # Empty until the first step: a resumed run may start with a validation.
        self._active: Mapping[str, Sequence[float]] = {}
        self._task = self._progress.add_task("training", total=steps_per_epoch * epochs, completed=start, rate="")
        self._progress.start()
        self._print_row(["epoch", "loss", *(name[:8] for name in label_names), "F1", "AUC", "active"], "bold")

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        self._active = {m: [float(share) for share in stages] for m, stages in metrics.active.items()}
        speed = self._progress.tasks[0].speed
        rate = f"{speed * self._batch:.1f} utt/s" if speed else ""
        epoch = step // self._per_epoch + 1
        description = f"epoch {epoch}/{self._epochs}, loss {float(metrics.loss):.3f}"
        self._progress.update(self._task, advance=1, rate=rate, description=description)
        now, done = self._now(), step + 1
        if not console.is_terminal and now - self._printed >= SECONDS_BETWEEN_LINES:
            console.print(f"  {description}, step {done}/{self._per_epoch * self._epochs}{self._pace(now, done)}")
            self._printed, self._since = now, (now, done)
        self._since = self._since or (now, done)

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        f1 = [f"{valid.per_label[name]['f1']:.3f}" for name in self._labels]
        active = " ".join("/".join(f"{v:.2f}" for v in stages) for stages in self._active.values())
        mean = [f"{valid.mean['f1']:.3f}", f"{valid.mean['auc']:.3f}"]
        self._print_row([str(epoch + 1), f"{loss:.4f}", *f1, *mean, active])
        self._printed = self._now()
        self._since = self._since and (self._printed, step)

    def close(self) -> None:
        self._progress.stop()

    def _pace(self, now: float, done: int) -> str:
        """End of a line: utterances per second and time left, or nothing before they are known."""
        if self._since is None:
            return ""
        then, done_then = self._since
        rate = (done - done_then) / (now - then)
        left = datetime.timedelta(seconds=round((self._per_epoch * self._epochs - done) / rate))
        return f", {rate * self._batch:.3g} utt/s, {left} left"

    def _print_row(self, cells: Sequence[str], style: str = "") -> None:
        *fixed, last = cells
        self._progress.console.print(" ".join(f"{c:>8}" for c in fixed) + f"  {last}", style=style)

"""What the terminal shows: progress with utterances per second, a row per epoch, tables of scores."""

import datetime
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mme2e_jax.metrics import TABLE, Metrics

# For the type alone: predictions of exported models are shown where there is no code of training.
if TYPE_CHECKING:
    from mme2e_jax.step import StepMetrics

# Between the lines that stand for the bar in a log file.
SECONDS_BETWEEN_LINES = 60.0

# A fixed width where the output is no terminal, so that log files do not depend on who reads them.
console = Console(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=not sys.stdout.isatty())

_HEADINGS = {"weighted_accuracy": "w. acc.", "accuracy": "acc.", "f1": "F1", "auc": "AUC"}
# Of what a table of several evaluations shows of each.
SUMMARY = {name: _HEADINGS[name] for name in ("f1", "accuracy", "weighted_accuracy", "auc")}


class ProgressBar:
    """A bar with utterances per second and time left, and one printed row per epoch.

    Where the output is no terminal a line stands for the bar, at most once a minute and only while no row is due.
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
        """Args: start: updates done before; now: seconds since some moment; the others: of the run."""
        self._labels, self._per_epoch, self._epochs, self._batch = label_names, steps_per_epoch, epochs, batch_size
        self._now = now
        self._printed = now()
        # From when on, and from how many steps on, speed is told; not before the first step, which compiles.
        self._since: tuple[float, int] | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
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
        # Until the first step: a run may go on with the validation that ends an epoch.
        self._active: Mapping[str, Sequence[float]] = {}
        self._task = self._progress.add_task("training", total=steps_per_epoch * epochs, completed=start, rate="")
        self._progress.start()
        self._print_row(["epoch", "loss", *(name[:8] for name in label_names), "F1", "AUC", "active"], "bold")

    def after_step(self, step: int, metrics: "StepMetrics", seconds: Mapping[str, float]) -> None:
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
        """Utterances per second and the time left, as a line ends with them once they are known."""
        if self._since is None:
            return ""
        then, done_then = self._since
        rate = (done - done_then) / (now - then)
        left = datetime.timedelta(seconds=round((self._per_epoch * self._epochs - done) / rate))
        return f", {rate * self._batch:.3g} utt/s, {left} left"

    def _print_row(self, cells: Sequence[str], style: str = "") -> None:
        *fixed, last = cells
        self._progress.console.print(" ".join(f"{c:>8}" for c in fixed) + f"  {last}", style=style)


def scores_table(title: str, metrics: Metrics) -> Table:
    """Scores per emotion and their mean."""
    table = Table(title=title)
    table.add_column("emotion")
    names = [name for name in TABLE if name in metrics.mean]
    for name in (*names, "threshold"):
        table.add_column(_HEADINGS.get(name, name), justify="right")
    for label, values in metrics.per_label.items():
        # Where one label is decided on by the highest score there are no thresholds.
        threshold = f"{metrics.thresholds[label]:.2f}" if metrics.thresholds else ""
        table.add_row(label, *_cells(values, names), threshold)
    table.add_section()
    table.add_row("mean", *_cells(metrics.mean, names), "", style="bold")
    return table


def cost_table(title: str, cost: Mapping[str, Any]) -> Table:
    """Multiply-adds of each part beside those of the dense model, and the share of sites that a stage worked on.

    Args:
      title: of the table.
      cost: see `cost.account`.
    """
    table = Table(title=title)
    for heading in ("part", "this model", "dense", "active sites"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for m, parts in cost["macs"].items():
        active = {f"stage_{k}": f"{share:.2f}" for k, share in enumerate(cost["active_fraction"].get(m, ()))}
        for name, value in parts.items():
            dense = cost["dense_macs"][m].get(name)
            table.add_row(f"{m} {name}", f"{value / 1e6:,.1f}", f"{(dense or 0) / 1e6:,.1f}", active.get(name, ""))
        table.add_section()
    own, dense = cost["extraction_gflops"], cost["dense_extraction_gflops"]
    share = f"{own / dense:.2f} of dense" if dense else ""
    table.add_row("GFLOPs of feature extraction", f"{own:.3f}", f"{dense:.3f}", share, style="bold")
    return table


def summary_cells(mean: Mapping[str, float | None]) -> list[str]:
    """Below the headings of SUMMARY; empty where a score does not exist.

    Args:
      mean: over the labels, as `Metrics.to_json` has it.
    """
    values = [mean[name] for name in SUMMARY]
    return ["" if value is None else f"{value:.3f}" for value in values]


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.3f}" for name in names]

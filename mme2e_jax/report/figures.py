"""Draws the figures of a report from numbers that are computed elsewhere."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mme2e_jax.constants import MODALITY_COLOURS, MODALITY_NAMES
from mme2e_jax.report.training import Training

DPI = 160
_SIZE = (5.6, 4.0)
_BLUE, _ORANGE = "#1f5a99", "#e66100"


class Bar(NamedTuple):
    """A score and its confidence interval; None where they are undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    reference: float  # value to compare with


def loss(training: Training) -> Figure:
    """Draws the training loss by step and by epoch."""
    figure, axes = _axes("epoch", "training loss")
    if training.steps:
        axes.plot(*zip(*training.steps, strict=True), color="#a9bfd6", linewidth=1, label="steps")
    _by_epoch(axes, training.loss, "mean of the epoch", _BLUE)
    _finish_training(axes, training)
    return figure


def scores(training: Training) -> Figure:
    """Draws the scores of the validation split by epoch."""
    figure, axes = _axes("epoch", "mean over the emotions, validation")
    for (name, values), colour in zip(training.scores.items(), (_BLUE, "#228833"), strict=False):
        _by_epoch(axes, [np.nan if value is None else value for value in values], name, colour)
    axes.set_ylim(0, 1.02)
    _finish_training(axes, training)
    return figure


def bars(values: Sequence[Bar], name: str, reference: str) -> Figure:
    """Draws the score `name` of each emotion with its interval, top to bottom, the mean last, and reference values."""
    figure, axes = _axes(name, "", height=max(2.6, 0.42 * len(values) + 1.3))
    rows = np.arange(len(values))
    colours = ["#4477aa"] * (len(values) - 1) + [_BLUE]
    axes.barh(rows, [bar.value or 0.0 for bar in values], color=colours, height=0.66)
    for row, bar in enumerate(values):
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color="black", linewidth=1.4, marker="|", markersize=7)
        if bar.value is None:
            axes.text(0.01, row, "undefined", va="center", fontsize=9, color="#555555")
    references = [bar.reference for bar in values]
    axes.vlines(references, rows - 0.42, rows + 0.42, color=_ORANGE, linewidth=2, label=reference)
    axes.set_yticks(rows, [_short(bar.name) for bar in values])
    axes.set_xlim(0, 1.02)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    _legend_below(axes)
    return figure


def cooccurrence(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draws the counts of true (rows) and predicted (columns) labels."""
    side = max(4.2, 0.55 * len(columns) + 1.4)
    figure, axes = _axes("predicted", "true", width=max(_SIZE[0], side), height=max(4.0, 0.5 * len(rows) + 1.3))
    axes.grid(visible=False)
    axes.imshow(counts, cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
    half = counts.max() / 2
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if counts[i, j] > half else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=10)
    return figure


def active(fractions: Mapping[str, Sequence[float]], threshold: float) -> Figure:
    """Draws the share of active sites in each stage of each tower."""
    figure, axes = _axes("stage of the tower", "share of sites that are active")
    width = 0.8 / len(fractions)
    for number, (m, shares) in enumerate(fractions.items()):
        positions = np.arange(len(shares)) + (number - (len(fractions) - 1) / 2) * width
        drawn = axes.bar(positions, shares, width=width * 0.92, color=MODALITY_COLOURS[m], label=MODALITY_NAMES[m])
        axes.bar_label(drawn, fmt="%.2f", fontsize=9, label_type="center", color="white")
    axes.axhline(threshold, color=_ORANGE, linestyle="--", linewidth=1.3, label=f"threshold {threshold:g}")
    axes.set_xticks(range(3), ["first", "second", "third"])
    axes.set_ylim(0, 1.08)
    axes.grid(axis="x", visible=False)
    _legend_below(axes)
    return figure


def _axes(x: str, y: str, *, width: float = _SIZE[0], height: float = _SIZE[1]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="tight")
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.tick_params(labelsize=10)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _by_epoch(axes: Axes, values: Sequence[float], label: str, colour: str) -> None:
    marker = "o" if len(values) <= 40 else ""
    axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=4, label=label)


def _finish_training(axes: Axes, training: Training) -> None:
    axes.axvline(training.best, color=_ORANGE, linestyle="--", linewidth=1.3, label="reported")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
    _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)


def _short(name: str) -> str:
    # A dollar would start a formula, and a legend omits names that start with an underscore.
    short = (name if len(name) <= 16 else f"{name[:15]}…").replace("$", r"\$")
    return f" {short}" if short.startswith("_") else short

"""Lays out plots of lines as inline SVG with tooltips."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

# Distinguishable with any colour vision (P. Tol's "bright", without its grey), and dashes for more lines than colours.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
DASHES = ("", "7 4", "2 3", "7 3 2 3")
GREY = "#8a8a8a"
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 42  # margins around the lines
_BINS = 30
_MOST_TICKS = 6


class Tip(NamedTuple):
    """A text that the page shows while the pointer is near a place."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """A line of a plot."""

    name: str  # in the legend
    x: Sequence[float]
    y: Sequence[float]  # NaN leaves a gap
    colour: str
    dash: str = ""  # as in SVG
    steps: bool = False  # whether y stays the same up to the next x
    tips: Sequence[Tip] = ()
    low: Sequence[float] = ()  # lower ends of intervals around y, or none
    high: Sequence[float] = ()
    mark: Tip | None = None  # one place with a dot


@dataclass(frozen=True)
class Plot:
    """Lines over common axes, in SVG units of a drawing of `width` by `height`."""

    x_name: str
    y_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    lines: Sequence[Line]
    width: int = field(default=460, init=False)
    height: int = field(default=300, init=False)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the area of the lines."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM

    def x(self, value: float) -> float:
        """Horizontal position of a value."""
        return _LEFT + _part(value, self.x_range) * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Vertical position of a value."""
        return self.height - _BOTTOM - _part(value, self.y_range) * (self.height - _TOP - _BOTTOM)

    def ticks(self, axis: str) -> list[tuple[float, str]]:
        """Positions and labels of the ticks of the axis "x" or "y"."""
        place, limits = (self.x, self.x_range) if axis == "x" else (self.y, self.y_range)
        return [(place(value), f"{value:g}") for value in ticks(*limits)]

    def path(self, line: Line) -> str:
        """The line as an SVG path."""
        return "".join(self._commands(line))

    def _commands(self, line: Line) -> Iterator[str]:
        drawing = False
        for x, y in zip(line.x, line.y, strict=True):
            if not math.isfinite(y):
                drawing = False
                continue
            place = f"{self.x(x):.1f} {self.y(y):.1f}"
            if drawing and line.steps:
                yield f"H{self.x(x):.1f}V{self.y(y):.1f}"
            else:
                yield f"L{place}" if drawing else f"M{place}"
            drawing = True

    def whiskers(self, line: Line) -> str:
        """The intervals of the line as an SVG path."""
        ends = zip(line.x, line.low, line.high, strict=bool(line.low))
        return "".join(
            f"M{self.x(x):.1f} {self.y(low):.1f}V{self.y(high):.1f}"
            for x, low, high in ends
            if math.isfinite(low + high)
        )

    def tips(self, line: Line) -> str:
        """Positions and texts of the line's tips, as JSON for the page's script."""
        return json.dumps([[round(self.x(x), 1), round(self.y(y), 1), text] for x, y, text in line.tips])


def ticks(low: float, high: float) -> list[float]:
    """At most seven round numbers from `low` to `high`, which is larger."""
    smallest = 10 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    step = next(factor * smallest for factor in (1, 2, 5, 10) if (high - low) / (factor * smallest) <= _MOST_TICKS)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def style(number: int) -> tuple[str, str]:
    """Colour and dash of a line by its number."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def histogram(values: Mapping[str, Sequence[float]], edges: Sequence[float], x_name: str) -> Plot | None:
    """Histograms of several groups of utterances, as shares of each group; None without any value.

    Args:
      values: a value of each utterance, by group.
      edges: edges of the bins, which hold all values; whole numbers lie between edges at halves.
      x_name: name of the values.
    """
    lines = []
    for number, (name, group) in enumerate(values.items()):
        if not len(group):
            continue
        counts = np.histogram(group, edges)[0]
        shares = counts / len(group)
        tips = [
            Tip((low + high) / 2, share, f"{name}\n{x_name}: {_bin_name(low, high)}\n{_count(count)} ({share:.0%})")
            for low, high, count, share in zip(edges[:-1], edges[1:], counts.tolist(), shares.tolist(), strict=True)
        ]
        # Down to 0 at both ends.
        x, y = [edges[0], *edges], [0.0, *shares.tolist(), 0.0]
        lines.append(Line(name, x, y, *style(number), steps=True, tips=tips))
    if not lines:
        return None
    top = max(max(line.y) for line in lines)
    return Plot(x_name, "share of the utterances", (edges[0], edges[-1]), (0, 1.05 * top), lines)


def whole_bins(values: Sequence[Sequence[float]]) -> list[float]:
    """Edges, at halves, of at most 30 bins of equal width: each holds the same number of whole numbers."""
    low, high = _limits(values)
    width = math.ceil((high - low + 1) / _BINS)
    return np.arange(low - 0.5, high + width, width).tolist()


def even_bins(values: Sequence[Sequence[float]]) -> list[float]:
    """Edges of 30 bins of equal width."""
    low, high = _limits(values)
    return np.linspace(low, high if high > low else low + 1, _BINS + 1).tolist()


def _limits(values: Sequence[Sequence[float]]) -> tuple[float, float]:
    present = [group for group in values if len(group)]
    return min(map(min, present), default=0), max(map(max, present), default=0)


def _bin_name(low: float, high: float) -> str:
    if low % 1 != 0.5 or high % 1 != 0.5:
        return f"{low:.3g} to {high:.3g}"
    first, last = round(low + 0.5), round(high - 0.5)
    return f"{first}" if first == last else f"{first} to {last}"


def _count(utterances: int) -> str:
    return f"{utterances:,} utterance{'s' * (utterances != 1)}"


def _part(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0])

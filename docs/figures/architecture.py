"""Draws docs/figures/architecture.png: the folders as layers, and which folder imports which.

    python -m docs.figures.architecture

Everything in the figure is read from the import statements of the code. A folder stands one layer above the highest
folder that it imports. An arrow that follows from other arrows is left out.
"""

import argparse
import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_suffix(".png")
PACKAGES = ("mme2e_jax", "data_tools")
# Nodes for modules outside the folders: above the folders (ENTRIES), below them (BASE), data commands (TOOLS).
ENTRIES, BASE, TOOLS = "launch.py", "batch, constants, errors", "data_tools"
_LABELS = {
    ENTRIES: "launch.py and\nthe thin entries",
    TOOLS: "data_tools/\nits commands",
    BASE: "mme2e_jax/\nbatch, constants, errors",
}
_BEND, _SWEEPS, _ROW_WIDTH, _HALF = " -> ", 100, 7.0, 0.26

Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """All modules of the program by dotted name."""
    files = [ROOT / ENTRIES, *itertools.chain.from_iterable((ROOT / package).rglob("*.py") for package in PACKAGES)]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


def imported(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The program's own modules that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in names)


def folder_imports() -> Graph:
    """The folders that each folder imports.

    Raises:
      ValueError: if folders import each other in a circle.
    """
    known = modules()
    edges = {name: set(imported(file, known)) - set(PACKAGES) for name, file in known.items()}

    def folder(name: str) -> str:
        package, *rest = name.split(".")
        if package == TOOLS:
            return f"{TOOLS}/{rest[0]}" if (ROOT / TOOLS / (rest or ["-"])[0]).is_dir() else TOOLS
        if rest and (ROOT / package / rest[0]).is_dir():
            return f"{package}/{rest[0]}"
        return ENTRIES if package not in PACKAGES or not rest or edges[name] else BASE

    graph: dict[str, set[str]] = {}
    for name, targets in edges.items():
        graph.setdefault(folder(name), set()).update(folder(target) for target in targets)
    return {name: targets - {name} for name, targets in sorted(graph.items())}


def layers(graph: Graph) -> dict[str, int]:
    """The layer of each folder: 0 if it imports no other folder.

    Raises:
      ValueError: if folders import each other in a circle.
    """

    def layer(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"found folders that import each other in a circle: {' -> '.join([*above, name])}")
        return max((1 + layer(target, (*above, name)) for target in graph[name]), default=0)

    return {name: layer(name) for name in graph}


def necessary(graph: Graph) -> Graph:
    """The graph without the arrows that follow from others (transitive reduction)."""

    @cache
    def reached(name: str) -> frozenset[str]:
        return frozenset(graph[name]).union(*map(reached, graph[name]))

    return {name: {t for t in ts if not any(t in reached(other) for other in ts)} for name, ts in graph.items()}


class Drawing:
    """Where things stand, found with the barycentre method for layered graphs."""

    def __init__(self, graph: Graph):
        """Args: graph: imports between folders, without circles."""
        self.layer = layers(graph)
        self.rows: list[list[str]] = [[] for _ in range(max(self.layer.values()) + 1)]
        for name, level in self.layer.items():
            self.rows[level].append(name)
        edges = sorted((start, target) for start, targets in necessary(graph).items() for target in targets)
        self.paths = [self._path(*edge) for edge in edges]
        self._links = sorted({pair for path in self.paths for pair in itertools.pairwise(path)})
        self.x = {name: x for row in self.rows for name, x in _spread(row).items()}
        best, least = dict(self.x), self._crossings()
        for sweep in range(_SWEEPS):
            for row in self.rows if sweep % 2 else reversed(self.rows):
                row.sort(key=self._middle)
                self.x |= _spread(row)
            if (found := self._crossings()) < least:
                best, least = dict(self.x), found
        self.x = best

    def _path(self, start: str, target: str) -> list[str]:
        """An arrow as the points it goes through: a bend in each layer between, so that it passes beside boxes.

        All arrows that end at one folder share their bends.
        """
        levels = range(self.layer[start] - 1, self.layer[target], -1)
        bends = [f"{level}{_BEND}{target}" for level in levels]
        for level, bend in zip(levels, bends, strict=True):
            if bend not in self.layer:
                self.layer[bend] = level
                self.rows[level].append(bend)
        return [start, *bends, target]

    def _middle(self, name: str) -> float:
        """The mean position of what a box or bend is linked with."""
        return float(np.mean([self.x[b if a == name else a] for a, b in self._links if name in (a, b)] or self.x[name]))

    def _crossings(self) -> int:
        return sum(
            self.layer[a] == self.layer[c] and (self.x[a] - self.x[c]) * (self.x[b] - self.x[d]) < 0
            for (a, b), (c, d) in itertools.combinations(self._links, 2)
        )


def _spread(row: Sequence[str]) -> dict[str, float]:
    """Positions of a row, centred on 0, in its order."""
    widths = np.array([0.35 if _BEND in name else 1.25 for name in row])
    widths *= max(1.0, _ROW_WIDTH / widths.sum())
    middles = np.cumsum(widths) - widths / 2 - widths.sum() / 2
    return dict(zip(row, middles.tolist(), strict=True))


def draw(drawing: Drawing) -> Figure:
    """Draws boxes in layers, with arrows from each folder to the folders it imports."""
    figure = Figure(figsize=(11, 9), layout="constrained", dpi=100)
    axes = figure.subplots()
    for path in drawing.paths:
        # Upright within a layer, so that no arrow crosses a box.
        points = [(drawing.x[name], drawing.layer[name] + side) for name in path for side in (_HALF, -_HALF)][1:-1]
        colour = "#b0651a" if path[0].startswith(TOOLS) else "#3a6ea5"
        axes.plot(*zip(*points[:-1], strict=True), color=colour, lw=0.9)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", points[-1], points[-2], arrowprops=arrow)
    for name, level in drawing.layer.items():
        if _BEND not in name:
            colour = "#fbe0c4" if name.startswith(TOOLS) else "#d6e6f5"
            box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": "0.35"}
            text = _LABELS.get(name, name.replace("/", "/\n"))
            axes.text(drawing.x[name], level, text, ha="center", va="center", fontsize=10, bbox=box, zorder=3)
    sides = min(drawing.x.values()) - 0.7, max(drawing.x.values()) + 0.7
    axes.set(ylim=(-0.5, len(drawing.rows) - 0.5), xlim=sides)
    axes.axis("off")
    return figure


def main() -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE, help="the file to write")
    draw(Drawing(folder_imports())).savefig(parser.parse_args().out)


if __name__ == "__main__":
    main()

"""Draws docs/figures/sparse_blocks.png: kept sites of two faces, and their rows.

    python -m docs.figures.sparse_blocks

The model's own code computes everything in the figure: a fresh tower of the mini configs' width processes two
expressions of the face of the embedded corpus. Its scores are initial values, so the selection has no meaning.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data_tools.mini_corpus.expressions import EXPRESSIONS
from data_tools.mini_corpus.face import Face
from data_tools.mini_corpus.speakers import photograph
from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.models import initialization
from mme2e_jax.models.rows import Sites, index_sites
from mme2e_jax.models.towers import SparseTower, Stage
from mme2e_jax.models.variables import Variables

FILE = Path(__file__).with_suffix(".png")
THRESHOLD = 0.5
_WIDTH, _D_TEXT, _SEED = 0.125, 16, 0
_PATH = "towers/v/"
_COLOURS = ("#1f77b4", "#d95f02")
_TAPS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))


class Selection(NamedTuple):
    """The arrays that the figure shows."""

    faces: np.ndarray  # uint8 [2, 48, 48, 3]
    stages: Sequence[Stage]
    sites: Sites  # of the last stage


def selection() -> Selection:
    """Runs a fresh sparse tower on two faces."""
    image, landmarks = photograph()
    face = Face(image, landmarks)
    left, top, right, bottom = (round(edge) for edge in face.box)
    faces = np.stack(
        [
            cv2.resize(
                face.render(EXPRESSIONS[emotion])[top:bottom, left:right],
                (FACE_SIZE, FACE_SIZE),
                interpolation=cv2.INTER_AREA,
            )
            for emotion in ("happy", "surprise")
        ]
    )
    tower = _fresh_tower()
    text = jnp.sin(jnp.arange(2 * _D_TEXT, dtype=jnp.float32)).reshape(1, 2, _D_TEXT)
    utterance = jnp.array([[0, 1]])
    x = jnp.asarray(faces, jnp.float32) / 127.5 - 1
    look = nnx.jit(lambda tower, x: tower(x, jnp.ones(2, bool), text, utterance, THRESHOLD, train=True)[1])
    stages = look(tower, x)
    return Selection(faces, stages, index_sites(stages[-1].kept, tower.blocks[-1].row_limit))


def _fresh_tower() -> SparseTower:
    """A tower with initial values, which are drawn by its path in a whole model."""

    def make():
        size = (FACE_SIZE, FACE_SIZE, 3)
        tower = SparseTower(size, 8, _D_TEXT, _WIDTH, renormalize=False, rows_threshold=THRESHOLD, rngs=nnx.Rngs(0))
        return Variables(*nnx.split(tower, nnx.Param, nnx.BatchStat))

    abstract = jax.eval_shape(make)
    drawn = initialization.initial_values(
        {f"{_PATH}{path}": leaf.shape for path, leaf in abstract.arrays().items()}, _SEED
    )
    variables = abstract.with_arrays({path.removeprefix(_PATH): value for path, value in drawn.items()})
    return nnx.merge(variables.graphdef, variables.params, variables.batch_stats)


def draw(chosen: Selection) -> Figure:
    """Draws faces with their kept sites, the packed rows, and one convolution at one site."""
    figure = Figure(figsize=(11, 9.4), layout="constrained", dpi=100)
    parts: Any = figure.subfigures(3, 1, height_ratios=(4.9, 1.5, 2.8))
    top, middle, bottom = parts
    _draw_faces(top, chosen)
    _draw_rows(middle, chosen)
    _draw_product(bottom, chosen)
    return figure


def _draw_faces(figure, chosen: Selection) -> None:
    figure.suptitle(f"1. Select: the fewest sites that hold {THRESHOLD:g} of each face's attention", x=0.01, ha="left")
    grid = figure.subplots(2, 4)
    numbers = _numbers(chosen)
    for image, row in enumerate(grid):
        row[0].imshow(chosen.faces[image])
        row[0].set_ylabel(f"face {image}", color=_COLOURS[image])
        for k, (axes, stage) in enumerate(zip(row[1:], chosen.stages, strict=True)):
            kept = np.asarray(stage.kept)
            _shade(axes, chosen.faces[image], kept[image], _COLOURS[image])
            if not image:
                h, w = kept.shape[1:]
                axes.set_title(f"stage {k}: {h} x {w} sites, {kept.mean():.0%} kept", fontsize=10)
        for y, x in zip(*np.nonzero(np.asarray(chosen.stages[-1].kept)[image]), strict=True):
            size = FACE_SIZE / numbers.shape[1]
            row[-1].text((x + 0.5) * size - 0.5, (y + 0.5) * size - 0.5, numbers[image, y, x], **_CENTRED)
    grid[0, 0].set_title("face crop, 48 x 48 pixels", fontsize=10)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])


_CENTRED = {"ha": "center", "va": "center", "fontsize": 9, "color": "black", "fontweight": "bold"}


def _numbers(chosen: Selection) -> np.ndarray:
    """The row of each site of the last stage."""
    return np.asarray(chosen.sites.row).reshape(chosen.stages[-1].kept.shape)


def _shade(axes: Axes, face: np.ndarray, kept: np.ndarray, colour: str) -> None:
    """Draws the face with its kept sites framed and all other sites dark."""
    size = FACE_SIZE // len(kept)
    large = np.kron(kept, np.ones((size, size), bool))
    shown = np.where(large[..., None], 0.55 * face + 0.45 * 255, 0.25 * face).astype(np.uint8)
    axes.imshow(shown)
    for y, x in zip(*np.nonzero(kept), strict=True):
        axes.add_patch(Rectangle((x * size - 0.5, y * size - 0.5), size, size, fill=False, edgecolor=colour, lw=0.7))


def _cell(
    axes: Axes, x: float, y: float, text: str, colour: str, width: float = 1, height: float = 1, alpha: float = 0.35
) -> None:
    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=alpha, edgecolor="none"))
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor="0.25", lw=0.8))
    axes.text(x + width / 2, y + height / 2, text, **_CENTRED)


def _image_of(row: int, chosen: Selection) -> int:
    sites = chosen.stages[-1].kept[0].size
    return int(chosen.sites.site[row]) // sites


def _draw_rows(figure, chosen: Selection) -> None:
    count, capacity = int(chosen.sites.count[0]), len(chosen.sites.site)
    figure.suptitle(
        f"2. Pack: the kept sites of stage 2 of the whole batch, one row of features each; {count} of {capacity} rows",
        x=0.01,
        ha="left",
    )
    axes = figure.subplots()
    for row in range(count):
        _cell(axes, row, 0, str(row), _COLOURS[_image_of(row, chosen)])
    _cell(axes, count, 0, "unused", "0.8", 4)
    _cell(axes, count + 4, 0, f"{capacity - 1}: zeros", "white", 5)
    _frame(axes, count + 9, 1)


def _draw_product(figure, chosen: Selection) -> None:
    row = _busiest(chosen)
    last = len(chosen.sites.site) - 1
    around = [int(n) for n in chosen.sites.neighbours[row]]
    figure.suptitle(
        f"3. Convolve: gather the nine neighbours of a row, here of row {row}, and multiply with the kernel",
        x=0.01,
        ha="left",
    )
    axes = figure.subplots()
    for tap, (number, (i, j)) in enumerate(zip(around, _TAPS, strict=True)):
        colour = "white" if number == last else _COLOURS[_image_of(number, chosen)]
        _cell(axes, 1.6 * (j + 1), 1.1 - i, str(number), colour, 1.6, alpha=0.7 if number == row else 0.35)
        _cell(axes, 7.2 + 1.6 * tap, 1.1, str(number), colour, 1.6)
    _note(axes, 2.5, -0.6, "the sites around it, by their rows;\nnot kept or outside: the row of zeros")
    _arrow(axes, 5.1, 6.9, 1.6)
    _note(axes, 14.4, 0.45, f"row {row} of the table of neighbours;\ngathered: nine rows of d features, side by side")
    axes.text(22.3, 1.6, "×", ha="center", va="center", fontsize=16)
    _cell(axes, 23, 0.6, "kernel\n[9 d, e]", "#7fbf7b", 3.6, 2, 0.5)
    axes.text(27.3, 1.6, "=", ha="center", va="center", fontsize=16)
    _cell(axes, 28, 1.1, f"new {row}: [e]", _COLOURS[_image_of(row, chosen)], 4)
    axes.set(xlim=(-1.2, 32.3), ylim=(-1.4, 3.2))
    axes.axis("off")


def _busiest(chosen: Selection) -> int:
    """A row with kept and other neighbours: the first with seven rows around it, itself included."""
    last = len(chosen.sites.site) - 1
    kept = np.sum(np.asarray(chosen.sites.neighbours) != last, axis=1)
    return int(np.flatnonzero(kept >= min(7, kept.max()))[0])


def _arrow(axes: Axes, start: float, end: float, y: float) -> None:
    axes.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "->", "lw": 1.5})


def _note(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def _frame(axes: Axes, width: float, height: float) -> None:
    axes.set(xlim=(-0.2, width + 0.2), ylim=(-0.2, height + 0.2))
    axes.axis("off")


def main() -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE, help="the file to write")
    draw(selection()).savefig(parser.parse_args().out)


if __name__ == "__main__":
    main()

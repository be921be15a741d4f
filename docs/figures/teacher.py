"""Draws docs/figures/teacher.png: where a teacher and its student look.

    python -m docs.figures.teacher --workdir=runs/mini_sparse

The run must have taught itself (`optim.dense_epochs`) or had a teacher. Its best checkpoint computes everything, on the
first utterances of its test split, in the first sparse stage. Fresh scores are the run's initial ones, with all other
weights as they are.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.config.schema import SparseOptimConfig
from mme2e_jax.html.images import mel_picture, veil
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.saliency import teach
from mme2e_jax.models.variables import Variables, apply, initial_variables, structures
from mme2e_jax.runs.load import Run, load_run, open_batch_loader

FILE = Path(__file__).with_suffix(".png")
_COLUMNS = (
    "input",
    "teacher's target",
    "attention,\nfresh scores",
    "attention,\ntrained scores",
    "kept,\nfresh",
    "kept,\ntrained",
)


class Image(NamedTuple):
    """One image with what is known of its sites in the first stage."""

    picture: np.ndarray  # uint8 [h, w] or [h, w, 3]
    target: np.ndarray  # the teacher's, float [h', w']
    attention: Sequence[np.ndarray]  # of fresh and of trained scores
    kept: Sequence[np.ndarray]


def look(run: Run, teacher: Variables, faces: int, chunks: int) -> list[Image]:
    """The first faces, each of another utterance, and the loudest mel chunks of the first test batch."""
    assert isinstance(run.spec, ModelSpec)
    batch = next(open_batch_loader(run).evaluation("test"))
    trained = run.model.state.variables
    assert isinstance(run.config.optim, SparseOptimConfig)
    exponent = run.config.optim.saliency_exponent
    arrays, first = trained.arrays(), initial_variables(run.spec, run.config.seed).arrays()
    fresh = trained.with_arrays({path: first[path] if "/scores/" in path else arrays[path] for path in arrays})
    threshold = run.model.state.threshold
    sites = jax.jit(lambda v, batch: apply(v, batch, train=False, threshold=threshold, seed=None)[0].stages)
    found = [jax.device_get(sites(variables, batch)) for variables in (fresh, trained)]
    saliency = jax.device_get(jax.jit(teach)(teacher, batch).saliency)

    def image(m: str, index: int, picture: np.ndarray) -> Image:
        target = saliency[m][0][index] ** exponent
        stages = [stages[m][0] for stages in found]
        return Image(picture, target / target.sum(), [s.weight[index] for s in stages], [s.kept[index] for s in stages])

    # Utterances follow each other in a batch.
    starts = np.r_[0, np.cumsum(batch.frame_count[0])][:-1][batch.frame_count[0] > 0]
    loud = np.argsort(-batch.mel[0].sum((1, 2)))
    shown = [image("v", i, batch.faces[0][i]) for i in starts[:faces]]
    return shown + [image("a", i, mel_picture(batch.mel[0][i : i + 1])) for i in loud[:chunks]]


def draw(images: Sequence[Image]) -> Figure:
    """Draws a row for each image."""
    figure = Figure(figsize=(11, 1.85 * len(images) + 0.5), layout="constrained", dpi=70)
    grid: Any = figure.subplots(len(images), len(_COLUMNS))
    for row, shown in zip(grid, images, strict=True):
        sound = shown.picture.ndim == 2
        _show(row[0], shown.picture, sound, cmap="gray", turned=False)
        for axes, values in zip(row[1:4], (shown.target, *shown.attention), strict=True):
            _show(axes, values, sound, vmin=0, vmax=max(4 / values.size, np.quantile(values, 0.99)))
        for axes, kept in zip(row[4:], shown.kept, strict=True):
            _show(axes, shown.picture, sound, cmap="gray", turned=False)
            height, width = shown.picture.shape[:2]
            cover = veil(kept[::-1] if sound else kept)
            axes.imshow(cover, extent=(-0.5, width - 0.5, height - 0.5, -0.5), aspect="auto" if sound else "equal")
            axes.set_xlabel(f"{kept.mean():.0%} of the sites", fontsize=9)
    for axes, title in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(title, fontsize=10)
    return figure


def _show(axes: Axes, values: np.ndarray, sound: bool, turned: bool = True, **options: Any) -> None:
    """Shows an image without ticks; arrays of mel sites have their lowest band first, pictures last."""
    axes.imshow(values[::-1] if sound and turned else values, aspect="auto" if sound else "equal", **options)
    axes.set(xticks=[], yticks=[])


def taught_run(workdir: Path) -> tuple[Run, Variables]:
    """A run and its teacher; exits with a message if it has none."""
    run = load_run(workdir, devices=1)
    assert isinstance(run.spec, ModelSpec)
    if not (workdir / "checkpoints" / str(run.step) / "teacher").exists():
        raise SystemExit(f"{workdir}: expected a run with a teacher, found none in its checkpoint {run.step}.")
    arrays = Checkpoints(workdir).restore_arrays(run.step, "teacher")
    start = initial_variables(run.spec, 0).with_arrays(arrays)
    return run, Variables(structures(run.spec)(1.0), start.params, start.batch_stats)


def main() -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, default=Path("runs/mini_sparse"), help="a run with a teacher")
    parser.add_argument("--out", type=Path, default=FILE, help="the file to write")
    arguments = parser.parse_args()
    drawn = io.BytesIO()
    draw(look(*taught_run(arguments.workdir), faces=3, chunks=2)).savefig(drawn)
    # 256 colours are enough, in a third of the bytes.
    PIL.Image.open(drawn).convert("RGB").quantize(256).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()

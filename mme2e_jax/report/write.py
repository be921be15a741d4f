"""Writes a report: its figures, and the HTML page that shows them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation import bootstrap
from mme2e_jax.html.page import render
from mme2e_jax.report import figures, paper, tables, utterances
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.curve_plots import curve_plots
from mme2e_jax.report.figures import Bar
from mme2e_jax.report.studies import PAGE, embed, render_studies
from mme2e_jax.runtime.files import write_figure, write_text

_FIGURES = ("loss", "validation", "f1", "auc", "cooccurrence", "active")


class Picture(NamedTuple):
    """The file of a figure."""

    file: str  # name, in the directory of the page
    alt: str  # description
    width: int  # pixels at standard density
    height: int


def write(content: Content, directory: Path) -> Path:
    """Writes `index.html` and its figures, removes stale figures of an earlier report, and returns the page's path."""
    pictures: dict[str, Picture] = {}
    drawn = dict(draw(content))
    for name in _FIGURES:
        file = directory / f"{name}.png"
        if name not in drawn:
            file.unlink(missing_ok=True)
            continue
        figure, alt = drawn[name]
        write_figure(file, figure, figures.DPI)
        width, height = figure.get_size_inches()
        pictures[name] = Picture(file.name, alt, round(100 * width), round(100 * height))
    path = directory / PAGE
    studies = render_studies(directory, content.metrics["step"])
    write_text(path, page(content, pictures, studies))
    return path


def page(content: Content, pictures: Mapping[str, Picture], studies: str = "") -> str:
    """Returns the page as HTML; it needs its figures, `pictures` by name, but no network.

    `studies` are from `render_studies`.
    """
    return render(
        "report",
        c=content,
        pictures=pictures,
        curves=curve_plots(content),
        studies=embed(studies),
        t=tables,
        paper=paper,
        name=Path(content.run).name,
        split=REPORTED,
        each=utterances.EACH,
        level=f"{bootstrap.LEVEL:.0%}",
        resamples=bootstrap.RESAMPLES,
    )


def draw(c: Content) -> Iterator[tuple[str, tuple[Figure, str]]]:
    """Yields figures by name, each with its description."""
    if c.training is not None:
        yield "loss", (figures.loss(c.training), "Training loss by epoch")
        yield "validation", (figures.scores(c.training), "Mean F1 and mean AUC on the validation split by epoch")
    truth = c.decisions[REPORTED].truth
    # F1 of the all-positive baseline: its recall is 1, and its precision is the share of positives.
    always = [*(2 * truth.sum(0) / (truth.sum(0) + len(truth))).tolist(), c.scores["always_f1"]]
    f1 = figures.bars(_bars(c, "f1", always), "F1", "all-positive baseline")
    yield "f1", (f1, "F1 of each emotion, with its interval")
    auc = figures.bars(_bars(c, "auc", [0.5] * len(always)), "ROC-AUC", "chance")
    yield "auc", (auc, "ROC-AUC of each emotion, with its interval")
    rows, columns, counts = tables.matrix(c)
    yield "cooccurrence", (figures.cooccurrence(counts, rows, columns), "Counts of true and predicted emotions")
    if c.sparse_threshold is not None:
        found: Mapping = c.scores["cost"]["active_fraction"]
        active = {m: found[m] for m in c.modalities if m in found}
        names = " and ".join(MODALITY_NAMES[m] for m in active)
        yield "active", (figures.active(active, c.sparse_threshold), f"Share of active sites in each stage: {names}")


def _bars(c: Content, score: str, references: Sequence[float]) -> list[Bar]:
    rows = [(name, c.scores["per_label"][name], c.intervals["per_label"][name]) for name in c.label_names]
    rows.append(("mean", c.scores["mean"], c.intervals["mean"]))
    return [
        Bar(name, values[score], around[score]["low"], around[score]["high"], reference)
        for (name, values, around), reference in zip(rows, references, strict=True)
    ]

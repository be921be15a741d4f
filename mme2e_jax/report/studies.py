"""Shows the ablation and the sparsity curve in a run's report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from markupsafe import Markup
from pydantic import Field

from mme2e_jax.constants import MODALITY_COLOURS, MODALITY_NAMES
from mme2e_jax.evaluation import bootstrap
from mme2e_jax.html.formats import format_difference
from mme2e_jax.html.page import Table, render
from mme2e_jax.html.plot import COLOURS, DASHES, GREY, Line, Plot, Tip
from mme2e_jax.report.tables import with_interval
from mme2e_jax.runs.stored_scores import MeanIntervals, MeanScores
from mme2e_jax.runtime.files import write_text
from mme2e_jax.runtime.json_schema import JsonObject, parse_json

ABLATION, SPARSITY_CURVE = "ablation.json", "sparsity_curve.json"  # in the directory of the report
PAGE = "index.html"
# The part of the page between these is written again by each study.
_BEGIN, _END = "<!-- studies -->", "<!-- end of studies -->"
_SCORES = {"f1": "F1", "auc": "ROC-AUC", "weighted_accuracy": "weighted accuracy"}
_STAGES = ("first", "second", "third")
_ASIDE = 0.012  # distance of intervals at one threshold

S = TypeVar("S", bound="Study")


class Scored(JsonObject):
    """Scores with their intervals."""

    scores: MeanScores
    intervals: MeanIntervals

    def value(self, name: str) -> tuple[float, float, float]:
        """A mean score and its interval; NaN where undefined."""
        around = self.intervals.mean[name]
        value, low, high = (np.nan if v is None else v for v in (self.scores.mean[name], around.low, around.high))
        return value, low, high

    def cell(self, name: str) -> str:
        """The same for a table."""
        return with_interval(self.scores.mean[name], self.intervals.mean[name].model_dump())


class Study(JsonObject):
    """A further evaluation of a run."""

    step: int
    split: str


class Difference(JsonObject):
    """A difference of two scores with its interval; None if undefined."""

    value: float | None
    low: float | None
    high: float | None


class Subset(Scored):
    """Decisions from some of the modalities."""

    modalities: str
    # By score, the difference of its mean to that of all modalities; empty for these, and in earlier versions.
    differences: dict[str, Difference] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """The names of the modalities."""
        return " + ".join(MODALITY_NAMES[m] for m in self.modalities)

    def against_all(self, name: str) -> str:
        """The difference of a mean score to that of all modalities; empty if it is not stored."""
        return format_difference(**self.differences[name].model_dump()) if name in self.differences else ""


class Ablation(Study):
    """`ablation.json`."""

    subsets: list[Subset]
    text_guides_attention: bool


class Point(Scored):
    """Decisions at one threshold of the sparse attention."""

    threshold: float
    active_fraction: dict[str, list[float]]
    extraction_gflops: float
    dense_extraction_gflops: float


class SparsityCurve(Study):
    """`sparsity_curve.json`."""

    trained_threshold: float
    points: list[Point]
    # The same weights with the scores that the run started with, if a teacher trained them.
    untaught: list[Point] = Field(default_factory=list)


def render_studies(directory: Path, step: int) -> Markup:
    """Renders the studies of the checkpoint `step` whose files are in the directory of the report, as a part of it."""
    curve = _read(directory / SPARSITY_CURVE, SparsityCurve, step)
    return Markup(
        render(
            "studies",
            ablation=_read(directory / ABLATION, Ablation, step),
            curve=curve,
            plots=[] if curve is None else curve_plots(curve),
            curve_table=None if curve is None else _curve_table(curve.points),
            untaught_table=_curve_table(curve.untaught) if curve and curve.untaught else None,
            scores=_SCORES,
            run=directory.parent,
            level=f"{bootstrap.LEVEL:.0%}",
        )
    )


def embed(studies: str) -> Markup:
    """Marks the studies in a page, so that `update_page` finds them."""
    return Markup(f"{_BEGIN}{studies}{_END}")


def update_page(directory: Path, step: int) -> Path | None:
    """Writes the studies of the checkpoint `step` into an existing page, which it returns; None if there is none."""
    path = directory / PAGE
    try:
        page = path.read_text(encoding="utf-8")
    except OSError:
        return None
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        # A page of an earlier version.
        return None
    # Not by `+`, which would escape what is no markup.
    write_text(path, f"{before}{embed(render_studies(directory, step))}{after}")
    return path


def curve_plots(curve: SparsityCurve) -> list[Plot]:
    """Plots of scores, GFLOPs and active sites over the threshold, and of what a teacher added."""
    points = curve.points
    p = [point.threshold for point in points]
    towers = [m for m in points[0].active_fraction if m in MODALITY_NAMES]
    scores = [_score_line(curve, name, number) for number, name in enumerate(_SCORES)]
    gflops, dense = [point.extraction_gflops for point in points], points[0].dense_extraction_gflops
    cost = [
        Line("this model", p, gflops, COLOURS[2], tips=_tips(p, gflops, "GFLOPs")),
        Line("dense model, without attention", [0, 1], [dense, dense], GREY, DASHES[1]),
    ]
    active = []
    for m in towers:
        for k, stage in enumerate(_STAGES):
            shares = [point.active_fraction[m][k] for point in points]
            name = f"{MODALITY_NAMES[m]}, {stage} stage"
            active.append(Line(name, p, shares, MODALITY_COLOURS[m], DASHES[k], tips=_tips(p, shares, name)))
    return [
        _plot(curve, "mean over the emotions", 1.0, scores),
        _plot(curve, "GFLOPs of feature extraction", 1.05 * max(*gflops, dense), cost),
        _plot(curve, "share of sites that are active", 1.0, active),
        *([_taught_plot(curve)] if curve.untaught else []),
    ]


def _taught_plot(curve: SparsityCurve) -> Plot:
    """ROC-AUC over GFLOPs, where a teacher trained the scores of sites and where not."""
    lines = []
    for number, (name, points) in enumerate(
        (("scores taught", curve.points), ("scores as at the start", curve.untaught))
    ):
        x, auc = [point.extraction_gflops for point in points], [point.value("auc")[0] for point in points]
        tips = [
            Tip(at, value, f"{name}: ROC-AUC {point.cell('auc')}\nat p = {point.threshold:g}, {at:.3g} GFLOPs")
            for at, value, point in zip(x, auc, points, strict=True)
            if value == value
        ]
        lines.append(Line(name, x, auc, COLOURS[number], DASHES[number], tips=tips))
    top = 1.05 * max(max(line.x) for line in lines)
    return Plot("GFLOPs of feature extraction", "ROC-AUC, mean over the emotions", (0, top), (0, 1), lines)


def _plot(curve: SparsityCurve, y_name: str, top: float, lines: Sequence[Line]) -> Plot:
    trained = curve.trained_threshold
    line = Line("trained for", [trained, trained], [0, top], "#e66100", DASHES[2])
    return Plot("threshold p of the sparse attention", y_name, (0, 1.03), (0, top or 1), [*lines, line])


def _score_line(curve: SparsityCurve, name: str, number: int) -> Line:
    values = [point.value(name) for point in curve.points]
    y, low, high = ([value[i] for value in values] for i in range(3))
    x = [point.threshold + (number - 1) * _ASIDE for point in curve.points]
    tips = [
        Tip(at, value, f"{_SCORES[name]} {point.cell(name)}\nat p = {point.threshold:g}")
        for at, value, point in zip(x, y, curve.points, strict=True)
        if value == value
    ]
    return Line(_SCORES[name], x, y, COLOURS[number], tips=tips, low=low, high=high)


def _tips(p: Sequence[float], values: Sequence[float], name: str) -> list[Tip]:
    return [Tip(x, y, f"{name} {y:.3g}\nat p = {x:g}") for x, y in zip(p, values, strict=True)]


def _curve_table(points: Sequence[Point]) -> Table:
    towers = [m for m in points[0].active_fraction if m in MODALITY_NAMES]
    rows = [
        [
            f"{point.threshold:g}",
            *(point.cell(name) for name in _SCORES),
            f"{point.extraction_gflops:.3f}",
            *(" / ".join(f"{share:.2f}" for share in point.active_fraction[m]) for m in towers),
        ]
        for point in points
    ]
    active = [f"active sites of {MODALITY_NAMES[m]}, by stage" for m in towers]
    return Table(["p", *_SCORES.values(), "GFLOPs", *active], rows)


def _read(path: Path, schema: type[S], step: int) -> S | None:
    """Reads a study; None if it is missing, of another checkpoint, or of a version without intervals."""
    try:
        found = parse_json(schema, path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.step == step else None

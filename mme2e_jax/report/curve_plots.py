"""Plots ROC and precision-recall curves of a run."""

from collections.abc import Callable, Iterator

import numpy as np

from mme2e_jax.evaluation import curves
from mme2e_jax.evaluation.curves import Curve
from mme2e_jax.html.plot import GREY, Line, Plot, Tip, style
from mme2e_jax.report.content import REPORTED, Content

_POINTS = 120  # most of a curve, as many as one can tell apart


def curve_plots(c: Content) -> list[Plot]:
    """The ROC plot and the precision-recall plot of the reported split; none of them without any curve."""
    diagonal = Line("", [0, 1], [0, 1], GREY, "4 4")
    # Precision is not linear between two points of recall.
    kinds = [
        (curves.roc, "false positive rate", "recall (true positive rate)", [diagonal], False),
        (curves.precision_recall, "recall", "precision", [], True),
    ]
    plots = []
    for compute, x_name, y_name, references, steps in kinds:
        if lines := list(_lines(c, compute, x_name, y_name.partition(" (")[0], steps)):
            plots.append(Plot(x_name, y_name, (0, 1), (0, 1.02), [*references, *lines]))
    return plots


def _lines(c: Content, compute: Callable[..., Curve | None], x_name: str, y_name: str, steps: bool) -> Iterator[Line]:
    score, truth, predicted = c.decisions[REPORTED]
    for i, label in enumerate(c.label_names):
        curve = compute(score[:, i], truth[:, i], predicted[:, i])
        if curve is None:
            continue

        def text(x: float, y: float, what: str, label: str = label) -> str:
            return f"{label}, {what}\n{x_name} {x:.2f}\n{y_name} {y:.2f}"

        points = _thin(curve)
        tips = [
            Tip(x, y, text(x, y, f"scores from {threshold:.2f}"))
            for x, y, threshold in zip(points.x.tolist(), points.y.tolist(), points.threshold.tolist(), strict=True)
            if np.isfinite(threshold)
        ]
        x, y = curve.decisions
        # Without any predicted utterance there is no precision.
        mark = Tip(x, y, text(x, y, "decisions")) if np.isfinite(x + y) else None
        name, (colour, dash) = f"{label} {curve.area:.2f}", style(i)
        x, y = points.x.tolist(), points.y.tolist()
        yield Line(name, x, y, colour, dash, steps=steps, tips=tips if mark is None else [*tips, mark], mark=mark)


def _thin(curve: Curve) -> Curve:
    """The curve with at most _POINTS points, evenly spaced along it."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve.x)) + np.abs(np.diff(curve.y)))])
    chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], _POINTS)))
    return curve._replace(x=curve.x[chosen], y=curve.y[chosen], threshold=curve.threshold[chosen])

"""Draws scores, GFLOPs and active sites over the sparse threshold."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

_SCORES = {"f1": "F1", "weighted_accuracy": "weighted accuracy", "auc": "AUC"}
_TOWERS = {"v": ("faces", "tab:blue"), "a": ("sound", "tab:orange")}
_STAGES = ("-", "--", ":")


def draw(report: Mapping[str, Any]) -> Figure:
    """Draws three panels of the result of `commands.sparsity_curve.sparsity_curve`."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    scores, gflops, active = figure.subplots(1, 3)
    points = report["points"]
    p = [entry["threshold"] for entry in points]
    for name, label in _SCORES.items():
        values = [entry["scores"]["mean"][name] for entry in points]
        # The AUC may be undefined.
        scores.plot(p, [float("nan") if v is None else v for v in values], marker="o", label=label)
    scores.set(ylabel=f"mean over the emotions ({report['split']} split)")
    gflops.plot(p, [entry["extraction_gflops"] for entry in points], marker="o", color="tab:green", label="this model")
    dense = points[0]["dense_extraction_gflops"]
    gflops.axhline(dense, color="0.4", linestyle="--", label="dense model, without attention")
    gflops.set(ylabel="GFLOPs of feature extraction per utterance", ylim=(0, None))
    for m in points[0]["active_fraction"]:
        name, colour = _TOWERS[m]
        for k, line in enumerate(_STAGES):
            shares = [entry["active_fraction"][m][k] for entry in points]
            active.plot(p, shares, line, color=colour, marker=".", label=f"{name}, stage {k}")
    active.set(ylabel="share of sites that are active", ylim=(0, 1.05))
    for axes in (scores, gflops, active):
        axes.axvline(report["trained_threshold"], color="0.7", linestyle="-.", label="trained for")
        axes.set(xlabel="threshold p of the sparse attention", xticks=[k / 10 for k in range(1, 11)])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure

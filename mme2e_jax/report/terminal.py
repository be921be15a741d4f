"""Builds the terminal tables of scores and costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Column, Table

from mme2e_jax.evaluation.metrics import TABLE, Metrics

_HEADINGS = {"weighted_accuracy": "w. acc.", "accuracy": "acc.", "f1": "F1", "auc": "AUC"}
# Scores in tables of several evaluations.
SUMMARY = {name: _HEADINGS[name] for name in ("f1", "accuracy", "weighted_accuracy", "auc")}


def numeric(*headings: str) -> list[Column]:
    return [Column(heading, justify="right") for heading in headings]


def scores_table(title: str, metrics: Metrics) -> Table:
    """Returns the scores per emotion and their mean."""
    names = [name for name in TABLE if name in metrics.mean]
    table = Table("emotion", *numeric(*(_HEADINGS.get(name, name) for name in (*names, "threshold"))), title=title)
    for label, values in metrics.per_label.items():
        # If the highest score decides, there are no thresholds.
        threshold = f"{metrics.thresholds[label]:.2f}" if metrics.thresholds else ""
        table.add_row(label, *_cells(values, names), threshold)
    table.add_section()
    table.add_row("mean", *_cells(metrics.mean, names), "", style="bold")
    return table


def cost_table(title: str, cost: Mapping[str, Any]) -> Table:
    """Returns multiply-adds of each part, those of the dense model, and active sites, from a `flops.cost_report`."""
    table = Table("part", *numeric("this model", "dense", "active sites"), title=title)
    for m in cost["macs"]:
        for name, *cells in cost_cells(cost, m):
            table.add_row(f"{m} {name}", *cells)
        table.add_section()
    own, dense = cost["extraction_gflops"], cost["dense_extraction_gflops"]
    share = f"{own / dense:.2f} of dense" if dense else ""
    table.add_row("GFLOPs of feature extraction", f"{own:.3f}", f"{dense:.3f}", share, style="bold")
    return table


def cost_cells(cost: Mapping[str, Any], modality: str) -> Iterator[tuple[str, str, str, str]]:
    """Yields each part, its millions of multiply-adds here and in the dense model, and its share of active sites."""
    active = {f"stage_{k}": f"{share:.2f}" for k, share in enumerate(cost["active_fraction"].get(modality, ()))}
    for name, value in cost["macs"][modality].items():
        dense = cost["dense_macs"][modality].get(name, 0)
        yield name, f"{value / 1e6:,.1f}", f"{dense / 1e6:,.1f}", active.get(name, "")


def summary_cells(mean: Mapping[str, float | None]) -> list[str]:
    """Returns the cells below the headings of SUMMARY for scores as in `Metrics.to_json`; an undefined one is empty."""
    values = [mean[name] for name in SUMMARY]
    return ["" if value is None else f"{value:.3f}" for value in values]


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.3f}" for name in names]

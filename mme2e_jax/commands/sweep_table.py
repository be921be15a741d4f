"""Summarizes the metrics of several runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from mme2e_jax.report.terminal import numeric

SPLITS = ("valid", "test")


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation (ddof=1) of every metric's mean over the emotions.

    `reports` are the contents of `report/metrics.json` of runs that differ in their seeds, at least one.

    Returns:
      `runs`, the number of runs; for each split and metric `mean`, `std` and `n`, the number of runs that have the
      metric. `std` is None if `n` is below 2, `mean` if it is 0.
    """
    result: dict[str, Any] = {"runs": len(reports)}
    for split in SPLITS:
        means = [report[split]["mean"] for report in reports]
        result[split] = {name: _spread([mean[name] for mean in means]) for name in means[0]}
    return result


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "n": len(known),
    }


def summary_table(points: Sequence[Mapping[str, Any]]) -> Table:
    """A table with a section for each grid point (`values` by key and its `summary`) and a row for each metric."""
    title = "mean ± sample standard deviation (ddof=1) over seeds"
    table = Table("config", *numeric("runs"), "metric", *numeric(*SPLITS), title=title)
    for point in points:
        where = "\n".join(f"{key}={value}" for key, value in point["values"].items())
        for number, name in enumerate(point["test"]):
            first = (where, str(point["runs"])) if number == 0 else ("", "")
            table.add_row(*first, name, *(_cell(point[split][name]) for split in SPLITS))
        table.add_section()
    return table


def _cell(spread: Mapping[str, float | None]) -> str:
    mean, std = spread["mean"], spread["std"]
    if mean is None:
        return ""
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"

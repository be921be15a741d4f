"""Trains one config with several seeds and values.

    python -m mme2e_jax.sweep --config=configs/mini_sparse.py --seeds=0,1,2 \\
        --grid config.model.sparse_threshold=0.5,0.8 --grid config.optim.lr=1e-3,5e-4 --out=DIR

Every combination is a run in its own directory below DIR (default: runs/sweep-CONFIG_NAME), one after the other. Values
for all runs are overrides: --config.optim.epochs=3. docs/runs.md has more.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from rich.table import Table

from mme2e_jax.commands.subprocess_run import LOG, RunFailed, finished_run
from mme2e_jax.config import preflight
from mme2e_jax.config.cli import config_with
from mme2e_jax.errors import UserError
from mme2e_jax.report.terminal import numeric
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.files import write_json
from mme2e_jax.runtime.signals import Stopped

FILE = "sweep.json"
SPLITS = ("valid", "test")


class PlannedRun(NamedTuple):
    """One run of a sweep."""

    point: Mapping[str, str]  # values of the grid's keys, as on the command line
    seed: str

    @property
    def overrides(self) -> list[str]:
        """Config overrides, such as `optim.lr=1e-3`."""
        return [*(f"{key}={value}" for key, value in self.point.items()), f"seed={self.seed}"]

    @property
    def name(self) -> str:
        """Directory name: unique for the overrides, and without slashes."""
        return ",".join(quote(override, safe="=+") for override in self.overrides)


def parse_grid(grid: Sequence[str]) -> dict[str, list[str]]:
    """Values by key, from flags as `config.optim.lr=1e-3,5e-4`; raises `UserError` for others and repeated keys."""
    grid_values: dict[str, list[str]] = {}
    for part in grid:
        match = re.fullmatch(r"config\.([\w.]+)=(.*)", part)
        values = [value.strip() for value in match[2].split(",")] if match else []
        if match is None or "" in values:
            raise UserError(f"--grid: expected config.KEY=VALUE,VALUE as in config.optim.lr=1e-3,5e-4, found {part!r}.")
        if match[1] in grid_values:
            raise UserError(f"--grid: config.{match[1]} is given twice. Give all its values at once.")
        grid_values[match[1]] = values
    return grid_values


def plan_runs(
    config: str, seeds: Sequence[str], grid: Mapping[str, Sequence[str]], common: Sequence[str], out: Path
) -> list[PlannedRun]:
    """Plans the runs of a sweep, the seeds of a grid point together, and checks that each can start or resume.

    Grid points are all combinations of the values by key in `grid`; `common` are overrides for all runs, such as
    `optim.epochs=3`; the runs are directories in `out`. Raises `UserError` if a config is not valid, two are the same,
    or records or weights are missing.
    """
    if not seeds:
        raise UserError("Expected --seeds=0,1,2 or other whole numbers, found none.")
    for key in {"seed", *grid} & {override.partition("=")[0] for override in common}:
        raise UserError(f"--config.{key}: the sweep itself sets this key. Leave it out.")
    if "seed" in grid:
        raise UserError("--grid: give the seeds with --seeds.")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    planned = [PlannedRun(point, seed) for point, seed in itertools.product(points, seeds)]
    configs: dict[str, str] = {}
    for run in planned:
        values = config_with(config, [*common, *run.overrides])
        preflight.check(values, out / run.name)
        key = json.dumps(values.to_dict(), sort_keys=True)
        if key in configs:
            raise UserError(f"{configs[key]} and {run.name} would be the same run. Give every value once.")
        configs[key] = run.name
    return planned


def _train_all(config: str, planned: Sequence[PlannedRun], common: Sequence[str], out: Path) -> dict[str, Any]:
    """Trains or resumes all runs; returns the content of `sweep.json`, which is written after each."""
    runs: list[dict[str, Any]] = []
    for number, run in enumerate(planned, 1):
        workdir = out / run.name
        entry: dict[str, Any] = {"name": run.name, "values": dict(run.point), "seed": run.seed, "workdir": str(workdir)}
        console.print(f"{number} of {len(planned)}: {run.name} (prints to {workdir / LOG})")
        try:
            entry["report"] = finished_run(workdir, config, [*common, *run.overrides])
            console.print(f"  test F1 {entry['report']['test']['mean']['f1']:.3f}")
        except RunFailed as error:
            entry["error"] = str(error)
            console.print(f"  {error}")
        runs.append(entry)
        result = {"config": config, "overrides": list(common), "runs": runs, "points": _points(runs)}
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / FILE, result)
    return result


def _points(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    points: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if "report" in run:
            points.setdefault(json.dumps(run["values"]), []).append(run["report"])
    return [{"values": json.loads(point), **summary(reports)} for point, reports in points.items()]


def sweep_command(config: str, argv: Sequence[str], seeds: Sequence[str], grid: Sequence[str], out: Path) -> int:
    """Trains all runs in directories below `out`, prints a table, and returns the exit status: 1 if a run failed.

    `argv` is the command line, `grid` the values of --grid. Raises `UserError` as `plan_runs` and `parse_grid`.
    """
    common = _overrides(argv)
    planned = plan_runs(config, seeds, parse_grid(grid), common, out)
    try:
        result = _train_all(config, planned, common, out)
    except Stopped as stopped:
        console.print(stopped)
        return 0
    if result["points"]:
        console.print(summary_table(result["points"]))
    failed = [run for run in result["runs"] if "error" in run]
    for run in failed:
        console.print(f"Failed: {run['name']}, see {run['workdir']}/{LOG}")
    console.print(f"Wrote {out / FILE}")
    return 1 if failed else 0


def _overrides(argv: Sequence[str]) -> list[str]:
    given = [re.fullmatch(r"--?(?:no)?config\.(.*)", argument, re.DOTALL) for argument in argv]
    overrides = [match[1] for match in given if match]
    for override in overrides:
        if "=" not in override:
            raise UserError(f"--config.{override}: expected --config.KEY=VALUE with an equals sign.")
    return overrides


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation (ddof=1) of every metric's mean over the emotions.

    `reports` are the contents of `report/metrics.json` of runs that differ in their seeds. For each split and metric,
    `n` is the number of runs that have the metric; `std` is None if it is below 2, `mean` if it is 0.
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

"""Runs of one config under several seeds, and under several values of some of its keys.

    python -m mme2e_jax.sweep --config=configs/mini_sparse.py --seeds=0,1,2
    python -m mme2e_jax.sweep --config=configs/mini_sparse.py --seeds=0,1,2 \\
        --grid config.model.sparse_threshold=0.5,0.8 --grid config.optim.lr=1e-3,5e-4 --out=DIR

Every combination is a run of `launch.py` in a directory of its own below DIR (by default runs/sweep-<config name>),
one after the other; what one of them dies of, the others survive. The same command goes on where an earlier one ended,
and repeats nothing that is finished. Values for all runs: --config.optim.epochs=3

Prints mean and sample standard deviation (of n - 1 degrees of freedom) over the seeds, and writes DIR/sweep.json.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mme2e_jax.commands.subprocess_run import LOG, RunFailed, finished_run
from mme2e_jax.commands.sweep_table import summary, summary_table
from mme2e_jax.config import preflight
from mme2e_jax.config.cli import config_with
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.files import write_json
from mme2e_jax.runtime.signals import Stopped

FILE = "sweep.json"


class Planned(NamedTuple):
    """One run of a sweep."""

    point: Mapping[str, str]  # values of the grid's keys, as on the command line
    seed: str

    @property
    def overrides(self) -> list[str]:
        """Of the config, as in `optim.lr=1e-3`."""
        return [*(f"{key}={value}" for key, value in self.point.items()), f"seed={self.seed}"]

    @property
    def name(self) -> str:
        """Of its directory: different for different overrides, and without slashes."""
        return ",".join(quote(override, safe="=+") for override in self.overrides)


def parse_grid(grid: Sequence[str]) -> dict[str, list[str]]:
    """Values by key, of flags such as `config.optim.lr=1e-3,5e-4`.

    Raises:
      UserError: if one is not of that form, or a key is given twice.
    """
    found: dict[str, list[str]] = {}
    for part in grid:
        match = re.fullmatch(r"config\.([\w.]+)=(.*)", part)
        values = [value.strip() for value in match[2].split(",")] if match else []
        if match is None or "" in values:
            raise UserError(f"--grid: expected config.KEY=VALUE,VALUE as in config.optim.lr=1e-3,5e-4, found {part!r}.")
        if match[1] in found:
            raise UserError(f"--grid: config.{match[1]} is given twice. Give all its values at once.")
        found[match[1]] = values
    return found


def plan(config: str, seeds: Sequence[str], grid: Mapping[str, Sequence[str]], common: Sequence[str]) -> list[Planned]:
    """The runs of a sweep, all seeds of a point of the grid together, once it is clear that each could start.

    Args:
      config: as the launcher's flag takes it.
      seeds: of all points.
      grid: values by key; the points are all their combinations.
      common: overrides of all runs, as in `optim.epochs=3`.

    Raises:
      UserError: if a run's config is not valid, two runs would be the same, or what a run reads is missing.
    """
    if not seeds:
        raise UserError("Expected --seeds=0,1,2 or other whole numbers, found none.")
    for key in {"seed", *grid} & {override.partition("=")[0] for override in common}:
        raise UserError(f"--config.{key}: the sweep itself sets this key. Leave it out.")
    if "seed" in grid:
        raise UserError("--grid: give the seeds with --seeds.")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    planned = [Planned(point, seed) for point, seed in itertools.product(points, seeds)]
    configs: dict[str, str] = {}
    for run in planned:
        values = config_with(config, [*common, *run.overrides])
        preflight.check(values)
        key = json.dumps(values.to_dict(), sort_keys=True)
        if key in configs:
            raise UserError(f"{configs[key]} and {run.name} would be the same run. Give every value once.")
        configs[key] = run.name
    return planned


def sweep(config: str, planned: Sequence[Planned], common: Sequence[str], out: Path) -> dict[str, Any]:
    """Makes all runs, or goes on with them; after each, `sweep.json` tells of those so far.

    Args:
      config: as the launcher's flag takes it.
      planned: see `plan`.
      common: overrides of all runs.
      out: where the runs' directories go.

    Returns:
      What `sweep.json` holds: `runs`, each with its `report` or the `error` that it ended with; `points`, each with the
      mean and the sample standard deviation of its runs' metrics.

    Raises:
      Stopped: if SIGTERM or Ctrl-C asked for it.
    """
    runs: list[dict[str, Any]] = []
    for number, run in enumerate(planned, 1):
        workdir = out / run.name
        entry: dict[str, Any] = {"name": run.name, "values": dict(run.point), "seed": run.seed, "workdir": str(workdir)}
        console.print(f"{number} of {len(planned)}: {run.name} (prints to {workdir / LOG})", markup=False)
        try:
            entry["report"] = finished_run(workdir, config, [*common, *run.overrides])
            console.print(f"  test F1 {entry['report']['test']['mean']['f1']:.3f}")
        except RunFailed as error:
            entry["error"] = str(error)
            console.print(f"  {error}", markup=False)
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
    """Plans and makes the runs, and prints the table.

    Args:
      config: value of --config.
      argv: command line; its overrides hold for all runs.
      seeds: seeds of all points.
      grid: values of --grid.
      out: parent of the run directories.

    Returns:
      The exit status: 1 if a run failed.

    Raises:
      UserError: as `plan` and `parse_grid`.
    """
    common = _overrides(argv)
    planned = plan(config, seeds, parse_grid(grid), common)
    try:
        result = sweep(config, planned, common, out)
    except Stopped as stopped:
        console.print(stopped)
        return 0
    if result["points"]:
        console.print(summary_table(result["points"]))
    failed = [run for run in result["runs"] if "error" in run]
    for run in failed:
        console.print(f"Failed: {run['name']}, see {run['workdir']}/{LOG}", markup=False)
    console.print(f"Wrote {out / FILE}")
    return 1 if failed else 0


def _overrides(argv: Sequence[str]) -> list[str]:
    """The overrides of a command line, as in `optim.epochs=3`."""
    given = [re.fullmatch(r"--?(?:no)?config\.(.*)", argument, re.DOTALL) for argument in argv]
    found = [match[1] for match in given if match]
    for override in found:
        if "=" not in override:
            raise UserError(f"--config.{override}: expected --config.KEY=VALUE with an equals sign.")
    return found

"""Writes JSON files of a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mme2e_jax.report.studies import update_page
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first
from mme2e_jax.runtime.files import write_json


def write_report(workdir: str | Path, name: str, content: Mapping[str, Any]) -> None:
    """Writes `report/NAME` of a run as JSON and prints its path, in the first process only."""
    if not is_first():
        return
    path = Path(workdir) / "report" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    console.print(f"Wrote {path}")


def write_study(workdir: str | Path, name: str, content: Mapping[str, Any]) -> None:
    """Writes a file of `report.studies` as `write_report` does, and shows it in the page, if the run has one."""
    write_report(workdir, name, content)
    if is_first() and (page := update_page(Path(workdir) / "report", content["step"])):
        console.print(f"Wrote {page}")

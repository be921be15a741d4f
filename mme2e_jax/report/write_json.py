"""Writes one JSON file of a report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first


def write_report(workdir: str | Path, name: str, content: Mapping[str, Any]) -> None:
    """Writes `report/NAME` of a run as JSON and says so; only one process does."""
    if not is_first():
        return
    path = Path(workdir) / "report" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"Wrote {path}")

"""Runs of `launch.py` for benchmarks: each with its own directory; one that is there already is not repeated."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def finished_run(workdir: Path, config: str, overrides: Sequence[str]) -> dict:
    """Trains and evaluates unless `workdir` holds the finished run.

    Args:
      workdir: of the run.
      config: name of a file in `configs/`.
      overrides: as in `optim.epochs=3`.

    Returns:
      What the run's `report/metrics.json` holds, and `seconds`, those of the command.
    """
    stored = workdir / "benchmark.json"
    if not stored.exists():
        print(f"{workdir} ...", file=sys.stderr)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "launch.py", f"--config=configs/{config}.py", f"--workdir={workdir}"]
            + [f"--config.{override}" for override in overrides],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        report = json.loads((workdir / "report" / "metrics.json").read_text())
        stored.write_text(json.dumps(report | {"seconds": time.perf_counter() - start}))
    return json.loads(stored.read_text())

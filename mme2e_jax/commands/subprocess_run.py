"""Runs of `launch.py` in processes of their own: each in its own directory, and none that is finished is repeated."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from mme2e_jax.config.cli import config_with
from mme2e_jax.config.parse import with_current_keys
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.files import write_json
from mme2e_jax.runtime.signals import Stopped

# In the run's directory: what a finished run was and gave; and what it printed.
FILE, LOG = "finished.json", "launch.log"
_LAUNCHER = Path(__file__).absolute().parent.parent.parent / "launch.py"
_SHOWN_LINES = 12


class RunFailed(UserError):
    """A run ended otherwise than well: the message has the end of what it printed."""


def finished_run(workdir: Path, config: str, overrides: Sequence[str]) -> dict:
    """Trains and evaluates, or goes on with that, unless `workdir` holds this run and it is finished.

    SIGTERM and Ctrl-C are handed to the run, which saves and ends.

    Args:
      workdir: of the run.
      config: as `launch.py` takes it.
      overrides: as in `optim.epochs=3`.

    Returns:
      What the run's `report/metrics.json` holds, and `seconds`, those of the command that finished the run.

    Raises:
      UserError: if the config is not valid with the overrides.
      RunFailed: if the run does not end well.
      Stopped: if it was asked to stop.
    """
    # Written to JSON and read back, tuples are lists.
    values = json.loads(json.dumps(config_with(config, overrides).to_dict()))
    stored, metrics = workdir / FILE, workdir / "report" / "metrics.json"
    known = json.loads(stored.read_text()) if stored.exists() else {}
    if known and with_current_keys(known["config"]) == values:
        return known["report"]
    print(f"{workdir} ...", file=sys.stderr)
    workdir.mkdir(parents=True, exist_ok=True)
    start, before = time.perf_counter(), _version(metrics)
    given = [f"--config={config}", f"--workdir={workdir}", *(f"--config.{override}" for override in overrides)]
    _launch(given, workdir)
    if _version(metrics) == before:
        raise Stopped(f"The run in {workdir} was stopped before its end. The same command goes on.")
    report = json.loads(metrics.read_text()) | {"seconds": time.perf_counter() - start}
    write_json(stored, {"config": values, "report": report})
    return report


def _version(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def _launch(arguments: Sequence[str], workdir: Path) -> None:
    """Waits for a run, hands on what asks this process to stop."""
    received: list[int] = []
    process: subprocess.Popen | None = None

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if process is not None:
            process.send_signal(number)

    log = workdir / LOG
    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with log.open("ab") as output:
            printed_before = output.tell()
            # In a group of its own: a terminal sends Ctrl-C to all of a group, and a run that gets it twice does not
            # save.
            process = subprocess.Popen(
                [sys.executable, str(_LAUNCHER), *arguments], stdout=output, stderr=output, process_group=0
            )
            for number in received:
                process.send_signal(number)
            status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise Stopped(f"Stopped as asked, in {workdir}. The same command goes on.")
    if status:
        printed = log.read_bytes()[printed_before:].decode(errors="replace").strip().splitlines()
        end = "\n".join(f"  {line}" for line in printed[-_SHOWN_LINES:])
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise RunFailed(f"The run in {workdir} {how}. The end of {log}:\n{end}")

"""Trains runs in subprocesses and skips finished ones."""

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

# In the run directory: config and report of a finished run; output of the subprocess.
FILE, LOG = "finished.json", "launch.log"
_LAUNCHER = Path(__file__).absolute().parent.parent.parent / "launch.py"
_SHOWN_LINES = 12


class RunFailed(UserError):
    """A run failed; the message has the end of its output."""


def finished_run(workdir: Path, config: str, overrides: Sequence[str]) -> dict:
    """Trains and evaluates a run, or resumes it, unless `workdir` holds the same run and it is finished.

    SIGTERM and Ctrl-C are forwarded to the run, which saves and ends. `config` is a value of --config, `overrides` are
    such as `optim.epochs=3`. Returns the content of `report/metrics.json`, and `seconds`, the duration of the command
    that finished the run. Raises `UserError` if the config is not valid with the overrides, `RunFailed` if the run
    fails, and `Stopped` if a signal stopped it.
    """
    # JSON turns tuples into lists.
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
        raise Stopped(f"The run in {workdir} was stopped before its end. The same command resumes it.")
    report = json.loads(metrics.read_text()) | {"seconds": time.perf_counter() - start}
    write_json(stored, {"config": values, "report": report})
    return report


def _version(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def _launch(arguments: Sequence[str], workdir: Path) -> None:
    received: list[int] = []
    process: subprocess.Popen | None = None

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if process is not None:
            process.send_signal(number)

    log = workdir / LOG
    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with log.open("ab") as output:
            printed_before = output.tell()
            # In its own process group: a terminal sends Ctrl-C to a whole group, and a run that gets two saves nothing.
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
        raise Stopped(f"Stopped on request in {workdir}. The same command resumes the run.")
    if status:
        printed = log.read_bytes()[printed_before:].decode(errors="replace").strip().splitlines()
        end = "\n".join(f"  {line}" for line in printed[-_SHOWN_LINES:])
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise RunFailed(f"The run in {workdir} {how}. The end of {log}:\n{end}")

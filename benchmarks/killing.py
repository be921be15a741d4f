"""Kills a run repeatedly, damages its checkpoints, and compares it with an undisturbed run."""

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from mme2e_jax.checkpoints.reader import DIRECTORY, Checkpoints
from mme2e_jax.training.step_log import FILE

# The fork server imports these once for the processes of all runs.
_PRELOAD = ("launch", "mme2e_jax.training.loop", "mme2e_jax.runs.load")
_LONGEST_WAIT = 600  # seconds


@dataclass
class Outcome:
    """Result of a run that was killed repeatedly."""

    kills: Counter[str] = field(default_factory=Counter)  # by kind of moment
    damages: int = 0  # checkpoints damaged between two starts
    differences: list[str] = field(default_factory=list)  # from the undisturbed run

    def to_json(self) -> dict[str, Any]:
        """Plain values; `survived` counts the kills after which the run resumed and finished."""
        kills = sum(self.kills.values())
        return {
            "kills": kills,
            "survived": kills if not self.differences else 0,
            "differences": len(self.differences),
            "moments": dict(self.kills),
            "damaged_checkpoints": self.damages,
        }


def soak(command: Callable[[Path], Sequence[str]], directory: Path, *, kills: int, seed: int) -> Outcome:
    """Compares a run that is killed with an undisturbed run.

    Args:
      command: function from a run directory to the arguments of the launcher.
      directory: parent directory of both runs.
      kills: number of kills.
      seed: seed of the moments.

    Raises:
      RuntimeError: if a run fails instead of being killed.
    """
    log = directory / "launch.log"
    alone, killed = directory / "alone", directory / "killed"
    _finish(command(alone), log)
    steps = Checkpoints(alone).find_latest_step() or 0
    steps_per_epoch = steps // len(Checkpoints(alone).read_record(steps).history)
    outcome, rng = Outcome(), random.Random(seed)
    moments = _moments(killed, kills, steps, steps_per_epoch, rng)
    for number, (kind, reached) in enumerate(moments):
        process = _start(command(killed), log)
        _wait_until(reached, process)
        process.kill()
        process.join()
        outcome.kills[kind] += 1
        # Two are needed: the run resumes from the one before.
        stored = Checkpoints(killed).list_steps()
        if number % 5 == 4 and len(stored) > 1:
            _damage(killed / DIRECTORY / str(stored[-1]), rng)
            outcome.damages += 1
    _finish(command(killed), log)
    outcome.differences = differences(alone, killed)
    return outcome


def _moments(
    workdir: Path, kills: int, steps: int, steps_per_epoch: int, rng: random.Random
) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Kinds of moments with functions that detect them; later moments come later in the run, so that it progresses."""
    kinds = ["in training", "while saving", "in validation", "at the start"]
    for number in range(kills):
        kind = "in evaluation" if number == kills - 1 else kinds[number % len(kinds)]
        before = _file_number(workdir / FILE)
        target = max(1, round((number + 1) / kills * steps))
        if kind == "in training":
            yield kind, lambda target=target, before=before: _logged(workdir, before) >= target
        elif kind == "while saving":
            yield kind, lambda target=target, before=before: _logged(workdir, before) >= target and _saving(workdir)
        elif kind == "in validation":
            end = min(-(-target // steps_per_epoch) * steps_per_epoch, steps)
            yield kind, lambda end=end, before=before: _logged(workdir, before) >= end
        elif kind == "in evaluation":
            yield kind, lambda: (workdir / DIRECTORY / str(steps)).exists()
        else:
            deadline = time.monotonic() + rng.uniform(0, 6)
            yield kind, lambda deadline=deadline: time.monotonic() > deadline


def _file_number(log: Path) -> int:
    return log.stat().st_ino if log.exists() else 0


def _logged(workdir: Path, before: int) -> int:
    """Steps that the current process has logged: it starts a new log, another file than the one `before`."""
    log = workdir / FILE
    return log.read_bytes().count(b"\n") if _file_number(log) not in (0, before) else 0


def _saving(workdir: Path) -> bool:
    return any("tmp" in path.name for path in (workdir / DIRECTORY).glob("*"))


def _damage(checkpoint: Path, rng: random.Random) -> None:
    """Flips a bit, cuts a file, or removes it."""
    file = rng.choice(sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.stat().st_size))
    content = bytearray(file.read_bytes())
    kind = rng.randrange(3)
    if kind == 0:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    elif kind == 1:
        file.write_bytes(content[: rng.randrange(len(content))])
    else:
        file.unlink()


def differences(one: Path, other: Path) -> list[str]:
    """Describes the differences between two finished runs."""
    found = []
    losses = [[_without_time(line) for line in (run / FILE).read_text().splitlines()] for run in (one, other)]
    if losses[0] != losses[1]:
        found.append(f"losses of {len(losses[0])} and {len(losses[1])} steps")
    if (one / "report/metrics.json").read_bytes() != (other / "report/metrics.json").read_bytes():
        found.append("metrics")
    runs = [Checkpoints(run) for run in (one, other)]
    steps = [(run.find_latest_step(), run.find_best_step()) for run in runs]
    if steps[0] != steps[1]:
        return [*found, f"last and best steps: {steps[0]} and {steps[1]}"]
    for step in {step for step in steps[0] if step is not None}:
        arrays = [run.restore_arrays(step) for run in runs]
        found += [
            f"{name} at step {step}" for name in arrays[0] if not np.array_equal(arrays[0][name], arrays[1][name])
        ]
    return found


def _without_time(line: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(line).items() if key != "seconds"}


def _start(arguments: Sequence[str], log: Path) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    process = context.Process(target=_launch, args=(list(arguments), log))
    process.start()
    return process


def _launch(arguments: list[str], log: Path) -> None:
    """Does what `python launch.py` does, in a process with the slow imports done."""
    import launch

    with log.open("a") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())

    sys.argv = ["launch.py", *arguments]
    flags.FLAGS.unparse_flags()
    launch.run()


def _finish(arguments: Sequence[str], log: Path) -> None:
    process = _start(arguments, log)
    process.join()
    if process.exitcode != 0:
        end = log.read_text()[-2000:]
        raise RuntimeError(f"launch.py {' '.join(arguments)} exited with {process.exitcode}:\n{end}")


def _wait_until(reached: Callable[[], bool], process: Any) -> None:
    """Waits for the moment or for the end of the process."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while process.is_alive() and not reached():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {_LONGEST_WAIT} s, but the moment to kill the run did not come")
        time.sleep(0.001)

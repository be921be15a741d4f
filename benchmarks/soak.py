"""Kills a run at random moments, damages its checkpoints, and checks the result.

    python -m benchmarks.soak --kills=50 --json=FILE

First, one run finishes undisturbed. Then the same command is started repeatedly and killed (SIGKILL), each time at
another kind of moment; after the last kill it may finish. Losses at every step, metrics and parameters of the two runs
must be equal, bit for bit.
"""

import json
import sys
import tempfile
from pathlib import Path

from absl import app, flags, logging

from benchmarks.killing import soak

_KILLS = flags.DEFINE_integer("kills", 50, "Number of kills.", lower_bound=1)
_CONFIG = flags.DEFINE_string("run_config", "configs/lf_rnn.py", "Config of the run.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments.")
_JSON = flags.DEFINE_string("json", None, "Also write the figures to this file.")

# Short epochs, so that a run has many kinds of moments.
_RUN = {"mini.utterances": 48, "optim.epochs": 6, "optim.early_stop": 0, "checkpoint.every_steps": 2}


def main(argv: list[str]) -> None:
    """Runs the comparison and prints the result."""
    del argv
    logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:

        def command(workdir: Path) -> list[str]:
            values = {"data.dir": f"{scratch}/records"} | _RUN
            return [
                f"--config={_CONFIG.value}",
                f"--workdir={workdir}",
                *(f"--config.{key}={value}" for key, value in values.items()),
            ]

        outcome = soak(command, Path(scratch), kills=_KILLS.value, seed=_SEED.value)
    for kind, count in outcome.kills.items():
        print(f"killed {kind}: {count}")
    print(f"checkpoints damaged: {outcome.damages}")
    print(f"differences from the undisturbed run: {len(outcome.differences)}", *outcome.differences, sep="\n  ")
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(outcome.to_json(), indent=2) + "\n")
    if outcome.differences:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)

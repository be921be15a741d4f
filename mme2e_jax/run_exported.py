"""The mode run_exported of the program: `python -m mme2e_jax.run_exported MODEL CLIP ...`."""

import sys

from mme2e_jax.commands.main import run

if __name__ == "__main__":
    # The model and the clip may be given without the names of their flags.
    given = iter(("--model=", "--input="))
    arguments = [a if a.startswith("-") else next(given, "") + a for a in sys.argv[1:]]
    run(None, [sys.argv[0], "--mode=run_exported", *arguments])

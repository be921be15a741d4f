"""`python -m mme2e_jax.import_weights ...` is `python launch.py --mode=import_weights ...`."""

import sys

from mme2e_jax.commands.main import run

if __name__ == "__main__":
    run(None, [sys.argv[0], "--mode=import_weights", *sys.argv[1:]])

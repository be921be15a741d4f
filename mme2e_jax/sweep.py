"""`python -m mme2e_jax.sweep ...` is `python launch.py --mode=sweep ...`."""

import sys

from mme2e_jax.commands.main import run

if __name__ == "__main__":
    run(None, [sys.argv[0], "--mode=sweep", *sys.argv[1:]])

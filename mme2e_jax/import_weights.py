"""Runs `mme2e_jax.commands.import_weights`: `python -m mme2e_jax.import_weights`."""

from mme2e_jax.commands.import_weights import run

if __name__ == "__main__":
    run()

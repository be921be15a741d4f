"""Runs `mme2e_jax.commands.sweep`: `python -m mme2e_jax.sweep`."""

from mme2e_jax.commands.sweep import run

if __name__ == "__main__":
    run()

"""Runs `mme2e_jax.commands.run_exported`: `python -m mme2e_jax.run_exported`."""

from mme2e_jax.commands.run_exported import run

if __name__ == "__main__":
    run()

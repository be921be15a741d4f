"""Which config values may change when a run continues."""

from collections.abc import Mapping
from typing import Any

from mme2e_jax.config.parse import flatten, with_current_keys
from mme2e_jax.config.schema import Config
from mme2e_jax.errors import UserError

# Paths, logging, implementation choices and the length of the run: a step's numbers depend on none of them beyond the
# order of sums. A run that stopped at an unusable record may continue without it.
_FREE = (
    "data.dir",
    "data.skip_bad",
    "model.text.dir",
    "model.remat",
    "model.sparse_impl",
    "optim.epochs",
    "optim.early_stop",
    "optim.skip_nonfinite",
    "checkpoint.",
    "log.",
    "mesh.",
    "profile",
)


def refuse_changes(config: Config, started_with: Mapping[str, Any], workdir: object) -> None:
    """Raises `UserError` with every difference if the run in `workdir` started with other values, `started_with`."""
    # A checkpoint returns tuples as lists.
    now, then = (
        {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(values)}
        for values in (config.to_dict(), with_current_keys(started_with))
    )
    keys = [k for k in now | then if not k.startswith(_FREE) and now.get(k) != then.get(k)]
    if keys:
        changes = "\n".join(f"  - config.{k}: started with {then.get(k)!r}, found {now.get(k)!r}." for k in keys)
        raise UserError(
            f"{workdir} holds a run with another config:\n{changes}\n"
            "Give the same values to continue it, or start a new run with another --workdir."
        )

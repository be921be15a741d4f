"""What several processes of one run do together."""

import jax
from jax.experimental import multihost_utils


def meet(name: str) -> None:
    """Waits until all processes are here; `name` tells this meeting from others."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def is_first() -> bool:
    """Whether this process writes what a run writes once: reports, logs, bars."""
    return jax.process_index() == 0

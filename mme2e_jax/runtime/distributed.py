"""Joins several processes into one run, on one or more machines."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import orbax.checkpoint as ocp

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import console

# Timeouts in seconds: for the start and the end of all processes; for heartbeats; and for work that only the first
# process does, such as generating the embedded corpus.
_START, _END, _HEARTBEAT, _WAIT = 300, 20, 20, 3600


def join_processes(coordinator: str | None, count: int | None, number: int | None) -> None:
    """Joins process `number` (from 0) of `count` to the others; `coordinator` is host:port of process 0.

    All arguments may be None where JAX finds them: under Slurm, Open MPI and on cloud TPUs. Raises `UserError` if it
    does not, or a process does not start in time.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            number,
            initialization_timeout=_START,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_END,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--distributed: the processes did not find each other: {reason} Under Slurm, Open MPI or on cloud TPUs "
            "nothing else is needed; elsewhere give every process --coordinator=HOST:PORT, the same for all, "
            "--process_count=N and --process_id=0 to N - 1."
        ) from error
    console.quiet = not is_first()


def wait_for_all(name: str) -> None:
    """Waits until all processes have made this call; `name` identifies the call."""
    if jax.process_count() > 1:
        ocp.multihost.sync_global_processes(name, timeout=_WAIT)


def is_first() -> bool:
    """Whether this process is the one that writes reports and logs."""
    return jax.process_index() == 0


@contextmanager
def report_lost_processes() -> Iterator[None]:
    """Turns the JAX error after the loss of another process into a `UserError` with a clear message."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"Process {jax.process_index()} of {jax.process_count()} stops because it lost another one: {reason}. The "
            "output of the lost process tells why. The same commands resume the run at the last checkpoint."
        ) from error

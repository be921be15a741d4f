"""Several processes that are one run, on one machine or many."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import orbax.checkpoint as ocp

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import console

# Seconds: how long processes wait for each other to start; without a sign of life until a process counts as dead; to
# end together; and for what only the first of them does, such as making the embedded corpus.
_START, _SILENCE, _END, _MEETING = 300, 20, 20, 3600


def join(coordinator: str | None, count: int | None, number: int | None) -> None:
    """Makes this process one of a run's.

    Args:
      coordinator: host:port of the first process, reachable from all.
      count: of processes.
      number: of this one, from 0. All three None where JAX finds them: under Slurm, Open MPI, on cloud TPUs.

    Raises:
      UserError: if they are not found, or not all processes come.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            number,
            initialization_timeout=_START,
            heartbeat_timeout_seconds=_SILENCE,
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


def meet(name: str) -> None:
    """Waits until all processes are here; `name` tells this meeting from others."""
    if jax.process_count() > 1:
        ocp.multihost.sync_global_processes(name, timeout=_MEETING)


def is_first() -> bool:
    """Whether this process writes what a run writes once: reports, logs, bars."""
    return jax.process_index() == 0


@contextmanager
def losses_told() -> Iterator[None]:
    """Turns the error that the loss of another process causes into one that says so.

    Raises:
      UserError: then.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"Process {jax.process_index()} of {jax.process_count()} stops because it lost another one: {reason}. What "
            "that one said last tells why. The same commands go on from the last checkpoint."
        ) from error

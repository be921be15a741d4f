"""Locks that the system lifts when their process ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mme2e_jax.errors import UserError

FILE = "lock"


@contextmanager
def lock_file(path: Path, refusal: Exception) -> Iterator[None]:
    """Locks a file, which is created if missing; raises `refusal` if another process holds the lock."""
    # The library's fallback for file systems without locks would outlive a killed process.
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise refusal from error
    with held:
        yield


@contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Keeps other runs out of a run directory, created if missing; raises `UserError` if another one holds it."""
    # Here, not at the top: data preparation needs `lock_file` without JAX.
    from mme2e_jax.runtime.distributed import is_first

    workdir.mkdir(parents=True, exist_ok=True)
    if not is_first():
        yield
        return
    with lock_file(workdir / FILE, _refusal(workdir)):
        yield


def check_unlocked(workdir: Path) -> None:
    """Raises `UserError` if a run holds a directory: an early answer, before frameworks are imported.

    Only `lock_workdir` keeps others out.
    """
    if (workdir / FILE).exists():
        with lock_file(workdir / FILE, _refusal(workdir)):
            pass


def _refusal(workdir: Path) -> UserError:
    return UserError(f"Another run works in {workdir}. Wait until it ends, or give another --workdir.")

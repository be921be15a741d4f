"""One run at a time in a directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.distributed import is_first

FILE = "lock"


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other runs out of a directory, which is made where it is missing; the system lifts the lock of a dead run.

    Raises:
      UserError: if another run works in it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if not is_first():
        yield
        return
    with (workdir / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"Another run works in {workdir}. Wait for its end, or give another --workdir.") from error
        yield

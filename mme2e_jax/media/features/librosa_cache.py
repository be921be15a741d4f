"""Loads librosa so that several processes can share its compiled functions.

Two processes that compile a function at the same time may store halves that do not fit, and every later process crashes
(numba issue 10128). So one process at a time compiles, for a cache of our own, because other programs share the usual
one.
"""

import functools
import hashlib
import importlib
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from mme2e_jax.runtime.user_cache import make_cache_directory

# Their functions are compiled when they are imported, which takes 25 s.
_COMPILED = ("librosa.util.utils", "librosa.core.audio", "librosa.core.pitch")


@functools.cache
def load_librosa() -> None:
    """Imports the compiled parts of librosa; call it before the first use in a process."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = _own_directory()
    directory = Path(os.environ["NUMBA_CACHE_DIR"])
    # What decides, for numba, whether a stored function fits.
    origin = (version("librosa"), version("numba"), sys.version, sys.prefix, platform.node())
    complete = directory / f"complete-{hashlib.sha256(repr(origin).encode()).hexdigest()[:16]}"
    if complete.exists():
        _import()
        return
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / "lock"):
        _import()
        complete.touch()


def _import() -> None:
    for name in _COMPILED:
        importlib.import_module(name)


def _own_directory() -> str:
    try:
        return str(make_cache_directory("numba"))
    except (OSError, RuntimeError):
        return tempfile.mkdtemp(prefix="mme2e-numba-")

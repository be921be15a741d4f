"""Loads librosa so that several processes can share its compiled functions.

Two processes that compile a function at the same time may store halves that do not fit, and every later process crashes
(numba issue 10128). So one process at a time compiles, for a cache of our own, because other programs share the usual
one.
"""

import atexit
import functools
import hashlib
import importlib
import os
import platform
import shutil
import sys
import tempfile
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from mme2e_jax.runtime.user_cache import make_cache_directory

# Their functions are compiled when they are imported, which takes 25 s.
_COMPILED = ("librosa.util.utils", "librosa.core.audio", "librosa.core.pitch")


@functools.cache
def load_librosa() -> None:
    """Imports the compiled parts of librosa; call it before the first use in a process."""
    try:
        directory = Path(os.environ.get("NUMBA_CACHE_DIR") or make_cache_directory("numba"))
        directory.mkdir(parents=True, exist_ok=True)
        # What decides, for numba, whether a stored function fits.
        librosa = find_spec("librosa")
        installed = os.stat(librosa.origin).st_mtime_ns if librosa and librosa.origin else 0
        origin = (version("librosa"), installed, version("numba"), sys.version, sys.prefix, platform.node())
        complete = directory / f"complete-{hashlib.sha256(repr(origin).encode()).hexdigest()[:16]}"
        # The library's fallback for file systems without locks would outlive a killed process.
        lock = FileLock(directory / "lock", fallback_to_soft=False)
        held = nullcontext() if complete.exists() else lock.acquire()
    except (OSError, RuntimeError):
        # There is no place for a cache, or no lock for it.
        scratch = tempfile.mkdtemp(prefix="mme2e-numba-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = scratch
        _import()
        return
    os.environ["NUMBA_CACHE_DIR"] = str(directory)
    with held:
        _import()
        if not complete.exists():
            complete.touch()


def _import() -> None:
    for name in _COMPILED:
        importlib.import_module(name)

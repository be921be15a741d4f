"""Directories for what later runs can use again."""

import os
from pathlib import Path


def make_cache_directory(name: str) -> Path:
    """A directory in the user's cache; raises `OSError` or `RuntimeError` if there is no place for one."""
    # There may be no home directory, as in containers with a user of their own.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mme2e_jax" / name
    cache.mkdir(parents=True, exist_ok=True)
    return cache

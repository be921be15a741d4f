"""Configures JAX's logging and its cache of compiled programs."""

import logging
import os
from pathlib import Path


def configure_jax() -> None:
    """Stores compiled programs in the user's cache, for the next runs."""
    # They log missing accelerators and available fonts.
    for name in ("absl", "jax", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Here, not at the top: the import takes a second.
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "mme2e_jax" / "xla"))

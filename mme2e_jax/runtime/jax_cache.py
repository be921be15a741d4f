"""Configures JAX's logging and its cache of compiled programs."""

import logging
import os
from pathlib import Path

from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.user_cache import make_cache_directory


def configure_jax() -> None:
    """Stores compiled programs in the user's cache, for the next runs."""
    # They log missing accelerators and available fonts.
    for name in ("absl", "jax", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("absl").addFilter(_is_no_warning_of_orbax)
    # Here, not at the top: the import takes a second.
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        cache = make_cache_directory("xla")
    except (OSError, RuntimeError) as error:
        console.print(
            f"Programs are compiled in every run, as there is no place for a cache: {error}. Set "
            "JAX_COMPILATION_CACHE_DIR to a directory that can be written."
        )
    else:
        jax.config.update("jax_compilation_cache_dir", str(cache))


def _is_no_warning_of_orbax(record: logging.LogRecord) -> bool:
    # Orbax warns of checkpoints without scores, such as those from within an epoch.
    return record.levelno >= logging.ERROR or "orbax" not in Path(record.pathname).parts

"""Configures JAX and the cache of its compiled programs."""

import logging
import os
from pathlib import Path


def prepare_jax() -> None:
    """Keeps compiled programs in the user's cache, so that the next run does not compile them again."""
    # The first two tell at length which accelerators this machine does not have, the third which fonts it has.
    for name in ("absl", "jax", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Here, not at the top: it takes a second, in which others can start their work.
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "mme2e_jax" / "xla"))

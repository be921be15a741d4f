"""What numbers depend on besides data and config: versions and devices."""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import jax

# Those of the requirements that compute.
_LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scikit-learn",
    "tensorflow-cpu",
    "tensorflow",
    "tensorflow-datasets",
    "array-record",
    "transformers",
)


def provenance(devices: int) -> dict[str, str]:
    """Names and values.

    Args:
      devices: that the evaluation ran on.
    """
    kind = jax.devices()[0].device_kind
    where = {
        "devices": f"{devices} x {kind}" + (f" in {n} processes" if (n := jax.process_count()) > 1 else ""),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return where | {name: version for name in _LIBRARIES if (version := _version(name))}


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of a config, as one gives them: `optim.lr`, `0.0005`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

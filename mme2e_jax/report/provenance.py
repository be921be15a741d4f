"""Collects versions and devices, on which the numbers of a report depend."""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import jax

# The requirements that affect numbers.
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
    """Returns versions and devices by name; `devices` is the number of devices of the evaluation."""
    kind = jax.devices()[0].device_kind
    environment = {
        "devices": f"{devices} x {kind}" + (f" in {n} processes" if (n := jax.process_count()) > 1 else ""),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return environment | {name: version for name in _LIBRARIES if (version := _version(name))}


def flatten_config(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields keys and values as flags take them: `optim.lr`, `0.0005`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten_config(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

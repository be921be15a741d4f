"""Collects versions and devices, on which the numbers of a report depend."""

import platform
from importlib import metadata

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


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

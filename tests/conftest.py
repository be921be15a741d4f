"""Set-up that must come before JAX and TensorFlow are imported, here and in the processes that tests start."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Nothing may fail because the machine is busy.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

_OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if _OWN_CACHE:
    # Many tests compile the same programs: the workers of one test run share them.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="mme2e-test-xla-")

# Added to the caller's flags, which may simulate another processor. Workers inherit it and need it once.
_DEVICES = "--xla_force_host_platform_device_count=8"
_FLAGS = os.environ.get("XLA_FLAGS", "").split()

os.environ |= {
    "JAX_PLATFORMS": "cpu",
    # Seconds that a program must take to compile for the cache to keep it.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    # Not with xla_backend_optimization_level=0, which would halve the time to compile: gradients come out wrong then.
    "XLA_FLAGS": " ".join([*(flag for flag in _FLAGS if flag != _DEVICES), _DEVICES]),
    # Arrays of different ranks never broadcast by accident.
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def pytest_unconfigure() -> None:
    # Workers inherit the variable, so that only the process that made the directory removes it.
    if _OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def _no_programs_of_other_modules() -> Iterator[None]:
    """Frees compiled programs, of which a whole run would keep gigabytes; what is used again is read from the cache."""
    yield
    # Most modules need no JAX, and none should wait for its import.
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic records: the same for all tests, so that programs compiled for their shapes are too."""
    from tests.helpers.synthetic import make_records

    return make_records(tmp_path_factory.mktemp("synthetic") / "records")


@pytest.fixture(scope="session")
def feature_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic feature records."""
    from tests.helpers.synthetic import make_feature_records

    return make_feature_records(tmp_path_factory.mktemp("synthetic") / "features")

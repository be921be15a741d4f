"""Set-up that must come before JAX and TensorFlow are imported, here and in the processes that tests start."""

import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# Nothing may fail because the machine is busy.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

_OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if _OWN_CACHE:
    # Many tests compile the same programs: the workers of one test run share them.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="mme2e-test-xla-")

# As in the launcher: fewer searches for garbage.
gc.set_threshold(100_000, 20, 20)

# Added to the caller's flags, which may simulate another processor. Workers inherit them and need them once.
_FLAGS = os.environ.get("XLA_FLAGS", "").split()
_DEVICES = "--xla_force_host_platform_device_count=8"
# Tests run small programs once: half of the time to compile them would be LLVM's optimisation. XLA's own passes stay.
# `.ci/run` also runs the tests of the models with all optimisation, as users run them.
_OPTIMIZATION = "--xla_backend_optimization_level"
_ADDED = [_DEVICES] + [f"{_OPTIMIZATION}=0"] * (not any(flag.startswith(_OPTIMIZATION) for flag in _FLAGS))

os.environ |= {
    "JAX_PLATFORMS": "cpu",
    # The cache keeps every program, however short it takes to compile: each module would compile the small ones again.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "XLA_FLAGS": " ".join([*(flag for flag in _FLAGS if flag != _DEVICES), *_ADDED]),
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
        for thread in threading.enumerate():
            # A run that ended early may still compile: XLA crashes if caches are cleared meanwhile.
            if thread.name.startswith("compile"):
                thread.join()
        sys.modules["jax"].clear_caches()
        gc.collect()
        # What is left stays, mostly: a search of it takes a third of a second after each module.
        gc.freeze()


Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes a directory once for all workers: `shared(name, make)` calls `make(path)` if no worker has done so.

    With MME2E_TEST_SHARED, a directory, also once for several test runs of the same code.
    """
    base = tmp_path_factory.getbasetemp()
    own = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root = Path(os.environ.get("MME2E_TEST_SHARED", own))
    root.mkdir(parents=True, exist_ok=True)

    def directory(name: str, make: Callable[[Path], object]) -> Path:
        path, made = root / name, root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(path, ignore_errors=True)
                make(path)
                made.touch()
        return path

    return directory


@pytest.fixture(scope="session")
def records(shared: Shared) -> Path:
    """The synthetic records: the same for all tests, so that programs compiled for their shapes are too."""
    from tests.helpers.synthetic import make_records

    def make(path: Path) -> None:
        make_records(path)
        (path / "tokenizer").mkdir()
        (path / "tokenizer" / "tokenizer.json").write_text("what a run keeps")

    return shared("records", make)


@pytest.fixture(scope="session")
def feature_records(shared: Shared) -> Path:
    """The synthetic feature records."""
    from tests.helpers.synthetic import make_feature_records

    return shared("feature_records", make_feature_records)


@pytest.fixture(scope="session")
def corpus(shared: Shared) -> Path:
    """A generated release in the layout of CMU-MOSEI, the smallest with every awkward case. Copy it to change it."""
    from data_tools.generate import generate

    return shared("corpus", lambda path: generate(path, 24, seed=0, workers=1))


@pytest.fixture(scope="session")
def processed_corpus(shared: Shared) -> Callable[[str], Path]:
    """Generated folders of processed utterances, of "mosei" or "iemocap". Copy them to change them."""
    from data_tools.generate import generate

    def corpus(dataset: str) -> Path:
        layout = f"processed_{dataset}"
        return shared(layout, lambda path: generate(path, 32, seed=0, layout=layout, workers=1))

    return corpus


@pytest.fixture(scope="session")
def sparse_run(shared: Shared, records: Path) -> Path:
    """A run of the shrunk sparse model: two epochs of three steps, evaluated. Copy it to change it."""
    from configs import mini_sparse
    from tests.helpers.runs import run
    from tests.helpers.synthetic import shrunk_run

    return shared("sparse_run", lambda path: run(*shrunk_run(mini_sparse, records, path)))


@pytest.fixture(scope="session")
def baseline_run(shared: Shared, feature_records: Path) -> Path:
    """A run of the shrunk recurrent baseline, as `sparse_run`."""
    from configs import lf_rnn
    from tests.helpers.runs import run
    from tests.helpers.synthetic import shrunk_run

    return shared("baseline_run", lambda path: run(*shrunk_run(lf_rnn, feature_records, path)))

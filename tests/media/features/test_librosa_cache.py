"""Only one process at a time compiles librosa's functions."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mme2e_jax.media.features import librosa_cache

load = librosa_cache.load_librosa.__wrapped__  # without the cache, as in a new process


def test_functions_are_compiled_in_turns_and_later_loaded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    at_once: list[int] = []
    running = threading.Semaphore(3)
    entered = threading.Barrier(2)

    def compiling() -> None:
        with running:
            at_once.append(3 - running._value)
            time.sleep(0.05)

    monkeypatch.setattr(librosa_cache, "_import", compiling)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: (entered.wait(), load()), range(2)))
    assert at_once == [1, 1]

    # Both wait for each other, so that neither can hold a lock.
    monkeypatch.setattr(librosa_cache, "_import", lambda: entered.wait(60))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: load(), range(2)))
    assert [path.name.partition("-")[0] for path in sorted((tmp_path / "numba").iterdir())] == ["complete", "lock"]


@pytest.mark.parametrize("home", [True, False])
def test_the_cache_is_not_the_one_of_other_programs(
    home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path if home else tmp_path / "file"))
    # Restored after the test.
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(librosa_cache, "_import", lambda: None)

    load()

    directory = Path(os.environ["NUMBA_CACHE_DIR"])
    assert directory == tmp_path / "mme2e_jax" / "numba" if home else directory.name.startswith("mme2e-numba-")
    assert len(list(directory.glob("complete-*"))) == home

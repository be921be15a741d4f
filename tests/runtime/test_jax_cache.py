"""Where JAX's compiled programs are kept."""

import logging
from pathlib import Path

import jax
import pytest

from mme2e_jax.runtime.jax_cache import configure_jax


@pytest.mark.parametrize("named", [True, False])
def test_compiled_programs_are_kept_in_the_users_cache_unless_another_place_is_named(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if not named:
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    updates: dict[str, str] = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)

    configure_jax()

    assert updates == ({} if named else {"jax_compilation_cache_dir": str(tmp_path / "mme2e_jax" / "xla")})


def test_a_user_without_a_home_runs_without_the_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    updates: dict[str, str] = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)

    configure_jax()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", _no_home)
    configure_jax()

    assert not updates
    assert capsys.readouterr().out.count("Set JAX_COMPILATION_CACHE_DIR to a directory") == 2


@pytest.mark.parametrize(
    ("path", "level", "shown"),
    [
        ("/site-packages/orbax/checkpoint/checkpoint_manager.py", logging.WARNING, False),
        ("/site-packages/orbax/checkpoint/checkpoint_manager.py", logging.ERROR, True),
        ("/site-packages/array_record/reader.py", logging.WARNING, True),
    ],
)
def test_only_warnings_of_orbax_are_silent(path: str, level: int, shown: bool) -> None:
    logger = logging.getLogger("absl")
    record = logger.makeRecord("absl", level, path, 1, "a message", (), None)

    configure_jax()

    assert logger.isEnabledFor(level)
    assert bool(logger.filter(record)) is shown


def _no_home() -> Path:
    # As for a user without HOME and without an entry in the list of users.
    raise RuntimeError("Could not determine home directory.")

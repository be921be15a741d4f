"""Where things are kept for later runs."""

from pathlib import Path

import pytest

from mme2e_jax.runtime.user_cache import make_cache_directory


def test_a_cache_directory_is_made_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert make_cache_directory("xla") == tmp_path / "mme2e_jax" / "xla"
    assert (tmp_path / "mme2e_jax" / "xla").is_dir()

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert make_cache_directory("xla") == tmp_path / "home" / ".cache" / "mme2e_jax" / "xla"

"""Where JAX's compiled programs are kept."""

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

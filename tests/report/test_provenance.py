"""What numbers depend on, in words."""

import platform
from importlib import metadata

from mme2e_jax.report.provenance import flat, provenance


def test_versions_are_those_that_are_installed() -> None:
    found = provenance(devices=2)

    assert found["jax"] == metadata.version("jax")
    assert found["Python"] == platform.python_version()
    assert found["devices"] == "2 x cpu"


def test_a_config_is_told_as_one_gives_it() -> None:
    config = {"seed": 0, "optim": {"lr": 5e-4, "name": "adam"}, "model": {"text": {"dir": ""}}}

    assert list(flat(config)) == [("seed", "0"), ("optim.lr", "0.0005"), ("optim.name", "adam"), ("model.text.dir", "")]

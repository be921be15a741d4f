"""Versions and devices of a report, and its config as flags."""

import platform
from importlib import metadata

from mme2e_jax.report.provenance import flatten_config, provenance


def test_versions_are_the_installed_ones() -> None:
    found = provenance(devices=2)

    assert found["jax"] == metadata.version("jax")
    assert found["Python"] == platform.python_version()
    assert found["devices"] == "2 x cpu"


def test_a_config_is_shown_as_flags_take_it() -> None:
    config = {"seed": 0, "optim": {"lr": 5e-4, "name": "adam"}, "model": {"text": {"dir": ""}}}

    assert list(flatten_config(config)) == [
        ("seed", "0"),
        ("optim.lr", "0.0005"),
        ("optim.name", "adam"),
        ("model.text.dir", ""),
    ]

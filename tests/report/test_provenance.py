"""Versions and devices of a report."""

import platform
from importlib import metadata

from mme2e_jax.report.provenance import provenance


def test_versions_are_the_installed_ones() -> None:
    found = provenance(devices=2)

    assert found["jax"] == metadata.version("jax")
    assert found["Python"] == platform.python_version()
    assert found["devices"] == "2 x cpu"

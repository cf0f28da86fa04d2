"""Fixtures: the built executable, and a copy of it that runs a test's own Python."""

from __future__ import annotations

import pytest

from . import built


@pytest.fixture(scope="session")
def engine():
    """The path of the built executable."""
    return built.executable()


@pytest.fixture(scope="session")
def probe(engine, tmp_path_factory):
    """The path of a copy that runs `-c TEXT` inside the executable."""
    return built.probe(tmp_path_factory.mktemp("probe"), engine)

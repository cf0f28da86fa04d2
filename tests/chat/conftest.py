"""The built executable, which these tests type to."""

from __future__ import annotations

import pytest

from tests.executable import built


@pytest.fixture(scope="session")
def engine():
    """The path of the built executable."""
    return built.executable()

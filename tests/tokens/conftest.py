"""Fixtures of the tokenizers' tests."""

from __future__ import annotations

import pytest

from .driver import Driver, compile_driver


@pytest.fixture(scope="session")
def driver_program(tmp_path_factory):
    """The sanitized driver, compiled once."""
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(driver_program):
    """A running driver of the test's own."""
    running = Driver(driver_program)
    yield running
    running.close()

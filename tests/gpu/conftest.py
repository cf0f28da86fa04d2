"""The card that ops are tested on: emulated, or the real one where LLAMAFILE_TEST_DEVICE=cuda."""

from __future__ import annotations

import os

import pytest

from .card import Card
from .compiled import module

DEVICE = os.environ.get("LLAMAFILE_TEST_DEVICE", "cuda-emulated")


@pytest.fixture(scope="session")
def module_path():
    """The compiled module."""
    return module(DEVICE)


@pytest.fixture(scope="module")
def card(module_path):
    """An open card; what a test leaves in its memory is given back after it."""
    card = Card(module_path)
    yield card
    card.close()


@pytest.fixture(autouse=True)
def _free_after(request):
    yield
    if "card" in request.fixturenames:
        request.getfixturevalue("card").free()

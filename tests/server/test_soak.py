"""The soak, short for every day and ten minutes for make check-long."""

from __future__ import annotations

import pytest

from tests.executable.built import BUILT, CHOSEN

from .running import SOURCES
from .soak import CONTEXT, soak

pytestmark = pytest.mark.models


def test_ten_seconds(start, smollm2):
    soak(start(smollm2, "-c", str(CONTEXT)), 10)


@pytest.mark.long
def test_ten_minutes(start, smollm2):
    soak(start(smollm2, "-c", str(CONTEXT), program=(str(BUILT),) if CHOSEN else SOURCES), 600)

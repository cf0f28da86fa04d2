"""The moments of a start, by the clock that the launcher's own marks use; -v tells them."""

from __future__ import annotations

import sys
import time

marks: dict[str, int] = {}  # name → nanoseconds of the monotonic clock, in the order of the first time


def mark(name: str) -> None:
    """Note when something happened for the first time."""
    marks.setdefault(name, time.monotonic_ns())


def text() -> str:
    """Return all marks as one line, those of the launcher first where this is an executable."""
    before: dict[str, int] = {}
    if "_launcher" in sys.builtin_module_names:
        import _launcher

        before = _launcher.times
    return "moments in ns: " + ", ".join(f"{name} {value}" for name, value in {**before, **marks}.items())

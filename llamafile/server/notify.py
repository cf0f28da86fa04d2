"""Tells a service manager that the server is ready or stopping, by the protocol of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket

_held: list[socket.socket] = []


def connect() -> None:
    """Connect to the manager that NOTIFY_SOCKET names, while that is still allowed; without one nothing is told."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        found.connect("\0" + path[1:] if path[0] == "@" else path)
    except OSError:
        found.close()  # a manager that went away needs no news
        return
    _held.append(found)


def tell(state: str) -> None:
    """Send a line as READY=1 or STOPPING=1."""
    for manager in _held:
        with contextlib.suppress(OSError):  # as above
            manager.send(state.encode())

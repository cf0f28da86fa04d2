"""A start of the server, from exec to the first 200 of /health, taken apart by the marks that -v tells."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time

from . import startup
from .limits import Missing

COUNT = 20
ASK = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LIMIT_MS = 250
# Two threads run at once, so these are moments after exec and not parts of a sum.
MOMENTS = {
    "ours": "exec → first line of ours", "model": "exec → model open", "program": "exec → program open",
    "server": "exec → listening, web part imported", "warm": "exec → first forward pass", "ready": "exec → ready",
}  # fmt: skip


def start(path):
    """Run one start; returns its moments in nanoseconds after exec, `health` among them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(path), "--server", "--nobrowser", "-v", "--port", str(port)]
    began = time.monotonic_ns()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not healthy(port):
            if process.poll() is not None or time.monotonic_ns() - began > 60e9:
                raise Missing(f"{path}: the server does not come up")
        ended = time.monotonic_ns()
    finally:
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    marks = dict(re.findall(r"(\w+) (\d+)", told.partition("moments in ns: ")[2]))
    return {**{name: int(marks[name]) - began for name in MOMENTS}, "health": ended - began}


def healthy(port):
    """Whether /health says 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(ASK)
            return client.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        time.sleep(0.001)
        return False


def measure(report, options):
    """Report the moments and the whole."""
    path = startup.executable(options)
    runs = [start(path) for _ in range((3 if options.quick else COUNT) + 2)][2:]
    for name, what in MOMENTS.items():
        report.add("start-up", "SmolLM2, --server", what, startup.milliseconds(run[name] for run in runs), "ms")
    whole = startup.milliseconds(run["health"] for run in runs)
    report.add("start-up", "SmolLM2, --server", "exec to /health 200", whole, "ms", share=whole / LIMIT_MS,
               of=f"{LIMIT_MS} ms")

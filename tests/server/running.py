"""Starts the server as users do, finds out where it is, and ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (sys.executable, "-m", "llamafile")
PATIENCE = 120  # seconds, which only a failure takes: the machine may do other things too
ENVIRONMENT = {key: value for key, value in os.environ.items()
               if not key.startswith(("LLAMA_", "PYTHON", "NOTIFY_", "LISTEN_"))}


class Running:
    """A server; `url` is its address, `lines` what it has written to its standard error stream."""

    def __init__(self, model: str | None, *words: str, program: tuple[str, ...] = SOURCES, port: str = "0",
                 environment: dict[str, str] | None = None, wait: bool = True, **more) -> None:
        command = [*program, "--server", "--port", port, *(() if model is None else ("-m", model)), *words]
        settings = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, **more}
        self.process = subprocess.Popen(command, env={**ENVIRONMENT, **(environment or {})}, **settings)
        self.lines: list[str] = []
        self.url = ""
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            assert self._told.wait(PATIENCE), self.lines
            assert self.url, self.lines

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            found = re.search(r" is served at (\S+)$", line)
            if found:
                self.url = found[1]
                self._told.set()
        self._told.set()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def connect(self) -> socket.socket:
        """Open a plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def post(self, path: str, body, **more) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=PATIENCE, **more)

    def get(self, path: str, **more) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE, **more)

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def processor_seconds(self) -> float:
        """What all its threads have used of the processor so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        self.process.stderr.close()
        return status


def raw(server: Running, data: bytes, seconds: float = PATIENCE) -> bytes:
    """Send bytes as they are and return what comes back until the server hangs up."""
    with server.connect() as client:
        client.settimeout(seconds)
        client.sendall(data)
        return receive(client)


def receive(client: socket.socket) -> bytes:
    """Return what comes until the other end hangs up."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def events(response: httpx.Response) -> list[tuple[str, str]]:
    """Return the (event, data) pairs of a stream, comments left out."""
    found, name = [], ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((name, line[6:]))
        elif not line:
            name = ""
        else:
            assert line.startswith(":"), line
    return found

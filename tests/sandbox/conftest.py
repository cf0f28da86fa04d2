"""Runs a test's Python where the sandbox is to hold: from the sources, and inside the built executable."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executable import built
from tests.sandbox import attempts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def victim():
    """The number of a process that a hijacked one may want to harm."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    assert process.poll() is None, "it was harmed"
    process.kill()
    process.wait()


@pytest.fixture(scope="session", params=["sources", pytest.param("executable", marks=pytest.mark.built)])
def python(request, tmp_path_factory):
    """The command that runs `-c TEXT`: this interpreter, or the built executable made to do so."""
    if request.param == "sources":
        return [sys.executable]
    return [str(built.probe(tmp_path_factory.mktemp("probe"), built.executable()))]


@pytest.fixture
def start(python, victim):
    """A function that starts a text behind the attempts' own, with pipes for all three streams."""
    running = []

    def start(text, **more):
        machine = platform.machine()
        if machine not in ("x86_64", "aarch64"):
            pytest.skip(f"no sandbox for {machine}")
        environment = {**os.environ, "VICTIM": str(victim)}
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
                   "cwd": ROOT, "env": environment, **more}
        process = subprocess.Popen([*python, "-c", attempts.text(machine) + text], **options)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()

"""Other people's ZIP programs, asked whether an archive is good."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

COMMANDS = {
    "unzip": (["unzip", "-tqq"], "apt-get install unzip"),
    "7z": (["7z", "t", "-bd"], "apt-get install p7zip-full"),
    "bsdtar": (["bsdtar", "-xOf"], "apt-get install libarchive-tools"),
    "busybox": (["busybox", "unzip", "-t"], "apt-get install busybox"),
}
UTF8 = {"LC_ALL": "C.UTF-8"}  # whatever the machine's own locale is: some of them read names by it


def need(*programs: str) -> None:
    """Skip a test whose programs are not here."""
    packages = {"zip": "zip"} | {name: how.split()[-1] for name, (_, how) in COMMANDS.items()}
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (apt-get install {packages.get(program, program)})")


def accepts(program: str, path: Path) -> None:
    """Assert that a program finds nothing wrong with an archive; skip where the program is absent."""
    if program == "zipfile":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        return
    need(program)
    done = subprocess.run([*COMMANDS[program][0], str(path)], capture_output=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, **UTF8})
    assert done.returncode == 0, (program, done.stdout[-2000:], done.stderr[-2000:])


def all_accept(path: Path) -> None:
    """Assert it of every program that is here."""
    accepts("zipfile", path)
    for program in COMMANDS:
        if shutil.which(program):
            accepts(program, path)

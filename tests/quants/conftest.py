"""Compiles the formats' C by itself, so that tests reach its inline functions under any compiler flags."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime import quants
from runtime.quants.generate import header

HERE = Path(__file__).parent
SOURCES = Path(quants.__file__).parent
FLAGS = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]
COMPILER = os.environ.get("CC") or "cc"


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A folder with the generated formats.h."""
    folder = tmp_path_factory.mktemp("generated")
    Path(folder, "formats.h").write_text(header())
    return folder


@pytest.fixture(scope="session")
def compile_quants(generated):
    """A function that compiles all of the formats' C and exports.c: (output, flags) → path."""
    def compile_with(output, *flags):
        sources = [*map(str, SOURCES.glob("*.c")), str(HERE / "exports.c")]
        command = [COMPILER, *FLAGS, *flags, f"-I{generated}", f"-I{SOURCES}", *sources, "-o", str(output), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        return output

    return compile_with


@pytest.fixture(scope="session")
def clib(compile_quants, tmp_path_factory):
    """The formats' C as a shared library, every function by its name."""
    path = compile_quants(tmp_path_factory.mktemp("clib") / "quants.so", "-O2", "-fPIC", "-shared")
    lib = ctypes.CDLL(str(path))
    lib.test_half.restype, lib.test_half.argtypes = ctypes.c_float, [ctypes.c_uint16]
    lib.test_to_half.restype, lib.test_to_half.argtypes = ctypes.c_uint16, [ctypes.c_float]
    return lib


@pytest.fixture(scope="session")
def find_program():
    """A function that returns a program's path or skips the test."""
    def find(name):
        return shutil.which(name) or pytest.skip(f"{name} is not installed")

    return find

"""Compilers that are scripts, a driver that is a few lines of C, and shelves with made-up sources, for the loader."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from gpu_modules.loader import Loader, Shelf
from llamafile import gpu

SOURCES = {"gpu_modules/cuda/module.cu": b"int x;\n", "gpu_modules/emulated/host.h": b"\n",
           "runtime/module.h": b"\n", "gpu_modules/generated/abi.h": b"\n"}  # fmt: skip

# $OUT is what the compiler was told to make.
SCRIPT = """#!/bin/sh
case "$1" in --version) echo "fake compiler {version}"; exit 0;; --list-gpu-arch) echo compute_80; exit 0;; esac
echo "$@" >> {folder}/runs
while [ $# -gt 0 ]; do case "$1" in -o) OUT="$2"; shift;; esac; shift; done
{body}
"""

DRIVER = r"""
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("FAKE_CUINIT") ? atoi(getenv("FAKE_CUINIT")) : 0; }
int cuDeviceGetCount(int *n) { *n = getenv("LF_TEST_CARDS") ? atoi(getenv("LF_TEST_CARDS")) : 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *name, int n, int d) { strcpy(name, "Fake 9000"); return 0; }
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = (size_t)24 << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : 6; return 0; }
int cuGetErrorString(int e, const char **s) { *s = "unknown error"; return 0; }
"""


def compiler(folder: Path, body: str, name: str = "c++", version: str = "1.0") -> Path:
    """A compiler of that name in folder/bin that does what the shell lines say; its runs are counted in folder/runs."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT.format(body=body, folder=folder, version=version))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def runs(folder: Path) -> int:
    """How often the compilers of a folder were asked to compile."""
    path = folder / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Only what lies in the folder is to be found, and the system's tools that scripts need."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": f"{folder / 'bin'}:{folder / 'tools'}", "HOME": str(home), "TMPDIR": str(folder), **more}


def loader(folder: Path, lines: list[str] | None = None, members: dict[str, bytes] | None = None, sources=SOURCES,
           env=None, **options) -> Loader:
    """A Loader over the folder's compilers and caches; what it says to the user is appended to lines."""
    held = members or {}
    shelf = Shelf("9.9", lambda: dict(sources), lambda: list(held), held.__getitem__, gpu.probe,
                  (lines if lines is not None else []).append)  # fmt: skip
    return Loader(shelf, environment=env or environment(folder), **options)


def driver(folder: Path) -> Path:
    """A folder with a libcuda.so.1 that shows LF_TEST_CARDS cards of compute capability 8.6."""
    library = folder / "driver" / "libcuda.so.1"
    library.parent.mkdir()
    source = folder / "driver.c"
    source.write_text(DRIVER)
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", str(library), str(source)], check=True)
    return library.parent


def python(code: str, env=None, **more) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, **more)

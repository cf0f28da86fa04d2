"""Builds the test module, and opens models whose layers run on its cards."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
from pathlib import Path

from runtime import build, cpu

HERE = Path(__file__).resolve().parent

if os.environ.get("LLAMAFILE_SANITIZED") and cpu.chosen() == "amx":
    cpu.choose("avx512vnni")  # sanitized code emulates the tiles and never asks the system for them; the module would


@functools.cache
def test_module(*flags):
    """The path of the module, compiled for the instruction set in use: the same bits as the CPU's are expected."""
    build.write_headers()
    tools, isa = build.Toolchain(), cpu.chosen()
    folder = build.BUILD / "test-module"
    folder.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{d}" for d in (build.ROOT, build.ROOT / "ops", build.ROOT / "quants", build.BUILD / "generated")]
    common = [*build.FLAGS, *build.ISAS.get(tools.machine, {}).get(isa, []), "-DLF_ISA=test", *includes, *flags]
    texts = [p.read_bytes() for d in (build.ROOT, build.ROOT / "ops", build.ROOT / "quants", build.BUILD / "generated")
             for p in sorted(d.glob("*.[ch]"))]  # fmt: skip
    key = hashlib.sha256(b"".join([*texts, (HERE / "module.c").read_bytes(), repr((tools.cc, common, HERE)).encode()]))
    path = folder / f"{key.hexdigest()[:16]}.so"
    if not path.exists():
        fresh = path.with_suffix(".new")
        sources = [HERE / "module.c", build.ROOT / "kernels.c", *sorted((build.ROOT / "quants").glob("*.c"))]
        subprocess.run([*tools.cc, *common, "-shared", "-o", str(fresh), *map(str, sources), "-lm"], check=True)
        fresh.replace(path)
    return str(path)


class Calls:
    """What the module was asked for since the last look."""

    NAMES = ("uploads", "runs", "downloads", "up", "down", "numbered")

    def __init__(self, path):
        self._counts = (ctypes.c_int64 * 6).in_dll(ctypes.CDLL(path), "lf_test_calls")

    def taken(self):
        """{name: count}, and back to zero."""
        found = dict(zip(self.NAMES, self._counts))
        for i in range(6):
            self._counts[i] = 0
        return found


def offload(path, layers=None, **options):
    """An Offload over all cards that the test module shows."""
    from llamafile.offload import Offload
    from runtime.devices import Module

    module = Module(path)
    return Offload([module.open(i) for i in range(module.count())], layers, **options)

"""Compile the C of this package (llamafile._native) and of the machine below it (runtime._core)."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime import build as machine

ROOT = Path(__file__).resolve().parent


def native():
    """The module llamafile._native: GGUF's walk, tokens, sampling; every .c file of the folders below."""
    sources, headers = sorted(ROOT.glob("*/*.c")), sorted(ROOT.glob("*/*.h"))
    folders = sorted({p.parent for p in [*sources, *headers]})
    with_cdefs = [h for h in headers if "/* cdef-begin */" in h.read_text()]
    return machine.Module("llamafile._native", sources, with_cdefs, folders)


if __name__ == "__main__":
    sanitize = "--sanitize" in sys.argv
    for module in (machine.core(), native()):
        print(machine.build(module, sanitize))

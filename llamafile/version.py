"""What --version and --verify say: the engine, its revision, Python, instruction sets, the state of every member."""

from __future__ import annotations

import sys

from llamafile import VERSION, engine, own
from llamafile.errors import LlamafileError


def text() -> str:
    """Return the lines that --version prints; the first is `llamafile VERSION`, as the older engines print it."""
    from runtime import cpu

    archive = own.archive()
    known = {} if archive is None else engine.facts(archive)
    revision = f"revision {known['revision']}" if "revision" in known else "source tree"
    target = f" for {known['target']}" if "target" in known else ""
    available, chosen = cpu.available(), cpu.chosen()
    others = [name for name in available if name != chosen]
    absent = [name for name in cpu.names() if name not in available]
    return (
        f"llamafile {VERSION} ({revision})\n"
        f"Python {sys.version.split()[0]}{target}\n"
        f"instruction set {chosen}"
        + (f"; also runs {', '.join(others)}" if others else "")
        + (f"; left out, not on this processor: {', '.join(absent)}" if absent else "")
        + "\n"
        + "".join(f"GPU {card}\n" for card in cards() or ["none that a driver shows; --gpu-doctor tells more"])
    )


def cards() -> list:
    """Return the graphics cards of this machine."""
    from gpu_modules import GpuFault, drivers

    found = []
    for kind in (drivers.apple, drivers.amd, drivers.nvidia):
        try:
            found += kind()
        except GpuFault:
            continue
    return found


def verify() -> str:
    """Check every member's checksum and return a line; raises ZipError or LlamafileError naming a damaged one."""
    from llamafile import verify

    archive = own.archive()
    if archive is None:
        raise LlamafileError("--verify: this program runs from its sources; there is no executable to check")
    return verify.report(archive)

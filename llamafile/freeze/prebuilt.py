"""`python -m llamafile.freeze.prebuilt`: GPU modules for a list of architectures, as members that zipalign can add.

    make gpu-prebuilt ARCHITECTURES=sm_80,sm_90 && cd build/gpu-prebuilt && zipalign my.llamafile gpu/*.so
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

from gpu_modules import GpuFault, building, kept
from gpu_modules.compilers import KINDS
from gpu_modules.loader import PREBUILT, digest_of
from llamafile import gpu
from llamafile.errors import LlamafileError

DEFAULT = {"cuda": "sm_75,sm_80,sm_86,sm_89,sm_90,sm_100,sm_120", "hip": "gfx906,gfx90a,gfx1030,gfx1100"}


def build(name: str, architectures: list[str], folder: Path) -> Path:
    """Compile one module for all of the architectures; returns its path, which ends as the member is to be called."""
    kind = KINDS[name]
    sources = kind.sources(gpu.sources())
    found = kind.find(os.environ)
    if not found:
        raise GpuFault(f"no compiler for {kind.title}")
    compiler = found[0]
    key = hashlib.sha256(compiler.version().encode()).hexdigest()[:8]
    target = folder / f"{PREBUILT}{name}-{'+'.join(sorted(architectures))}-{digest_of(sources)}-{key}.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    log = building.Log(str(target.with_suffix(".log")))
    try:
        _, flags = next(iter(kind.attempts(compiler, architectures)))
        unpacked = kept.unpack(sources, str(folder), digest_of(sources))
        building.attempt(kind, compiler, flags, unpacked, str(fresh), log, 3600)
        fresh.replace(target)
    finally:
        log.close()
        fresh.unlink(missing_ok=True)
    return target


def main() -> int:
    """Read the command line and build; a failure is one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m llamafile.freeze.prebuilt", description=__doc__)
    parser.add_argument("--kind", choices=sorted(DEFAULT), default="cuda")
    parser.add_argument("--architectures", default="", help="as in sm_80,sm_90; without it all of note")
    parser.add_argument("--output", type=Path, default=Path("build/gpu-prebuilt"), help="the folder to write to")
    chosen = parser.parse_args()
    started = time.monotonic()
    try:
        target = build(chosen.kind, (chosen.architectures or DEFAULT[chosen.kind]).split(","), chosen.output.resolve())
    except (GpuFault, LlamafileError) as error:
        print(f"llamafile: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {target.stat().st_size:,} bytes in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

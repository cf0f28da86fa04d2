"""The GPU module compiled for the emulated card or for the real one, once for each text of it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from runtime import build

ROOT = Path(__file__).resolve().parent.parent.parent
GPU = ROOT / "gpu_modules"
EMULATED = ["-x", "c++", "-std=c++17", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
            "-Wno-address-of-packed-member", "-Wno-maybe-uninitialized", f"-I{GPU / 'emulated'}"]  # fmt: skip
SHARED = ["-shared", "-fPIC", "-fvisibility=hidden"]
NVCC = ["-std=c++17", "-O3", "-shared", "-Werror", "all-warnings", "-Xcompiler", "-fPIC,-fvisibility=hidden",
        "--split-compile=0", "-Xptxas=-v"]  # fmt: skip


def nvcc():
    """The CUDA compiler of this machine, or None."""
    import shutil

    return shutil.which("nvcc") or next((p for p in ("/usr/local/cuda/bin/nvcc",) if os.path.exists(p)), None)


def module(device, extra=()):
    """Return the path of the module for "cuda-emulated" or "cuda", compiled where its text is new; `extra` flags."""
    if device == "cuda":
        command = [str(nvcc()), *NVCC, "-arch=native"]
    else:
        command = [os.environ.get("CXX") or "c++", *EMULATED, *SHARED]
    return compiled(device, [*command, *extra])


UNITS = {"metal-emulated": GPU / "emulated" / "metal.cpp"}  # the others are made of the CUDA text


def compiled(name, command):
    """Run a compiler's command on a module's unit unless its result is there; return the shared library's path."""
    build.write_headers()
    unit = UNITS.get(name, GPU / "cuda" / "module.cu")
    includes = [GPU / ("metal" if name in UNITS else "cuda"), ROOT / "runtime", ROOT / "build" / "generated"]
    texts = sorted(p for folder in (*includes, GPU / "emulated") for p in folder.iterdir() if p.is_file())
    key = hashlib.sha256(repr(command).encode() + b"".join(p.read_bytes() for p in texts)).hexdigest()[:16]
    folder = ROOT / "build" / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{key}.so"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side compile it once
        if not target.exists():
            fresh = target.with_suffix(f".{os.getpid()}")
            full = [*command, *(f"-I{p}" for p in includes), "-o", str(fresh), str(unit)]
            done = subprocess.run(full, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert not done.returncode, f"{' '.join(full)}\n{done.stdout}{done.stderr}"
            target.with_suffix(".log").write_text(done.stdout + done.stderr)
            fresh.replace(target)
    return target

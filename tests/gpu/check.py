"""Compile the module for some architectures, warnings as errors, and say what each kernel takes: make gpu-check."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_modules.compilers import on_all_processors
from runtime import build

from .compiled import GPU, ROOT, nvcc

CUDA = ["sm_90"]
ALL_CUDA = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_75"]
HIP = ["gfx906", "gfx90a", "gfx1030"]
NO_LIBRARY = ["gfx1100"]  # Debian's device library does not know it: compiled to its assembler, not linked
HOT = ("lf_few_columns", "lf_few_floats", "lf_many_columns", "lf_many_floats", "lf_flash")
NVCC = ["-std=c++17", "-O3", "-c", "-Werror", "all-warnings", "-Xcompiler", "-fPIC,-Wall", "--resource-usage"]
HIPCC = ["-x", "hip", "-std=c++17", "-O3", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
         "-Wno-unused-result", "-Wno-pass-failed", "-Wno-unused-command-line-argument"]  # fmt: skip


def compile(command, folder):
    """Run a compiler on the module; returns what it said and the seconds it took."""
    includes = [f"-I{p}" for p in (GPU / "cuda", ROOT / "runtime", ROOT / "build" / "generated")]
    begin = time.perf_counter()
    full = [*command, *includes, "-o", f"{folder}/module.o", str(GPU / "cuda" / "module.cu")]
    done = subprocess.run(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"gpu-check: {' '.join(command)} failed\n{done.stdout}")
    return done.stdout, time.perf_counter() - begin


def kernels(report):
    """(name, registers, bytes of shared memory, bytes spilled) of each kernel in ptxas' report."""
    name, spilled = "", 0
    for line in report.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name = found.group(1)
        elif found := re.search(r"(\d+) bytes spill stores", line):
            spilled = int(found.group(1))
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            yield name, int(found.group(1)), int(shared.group(1)) if shared else 0, spilled


def plain(names):
    """Names as a reader writes them, where c++filt is there."""
    if not shutil.which("c++filt"):
        return names
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [re.sub(r"^void |\(.*", "", line) for line in done.stdout.splitlines()]


def cuda(architecture, folder):
    """Compile for one NVIDIA architecture; returns how many hot kernels spill."""
    report, took = compile([str(nvcc()), *NVCC, *on_all_processors([architecture]), f"-arch={architecture}"], folder)
    rows = list(kernels(report))
    bad = 0
    print(f"{architecture}: {took:.0f} s, {len(rows)} kernels")
    for title, (_, registers, shared, spilled) in zip(plain([row[0] for row in rows]), rows):
        hot = title.startswith(HOT) or any(name in title for name in HOT)
        if hot or spilled:
            print(f"  {title:44} {registers:4} registers {shared:6} B static shared {spilled:5} B spilled")
        bad += hot and spilled > 0
    return bad


def hip(architecture, folder):
    """Compile for one AMD architecture."""
    how = ["-c"] if architecture in HIP else ["-nogpulib", "--cuda-device-only", "-S"]
    _, took = compile(["hipcc", *HIPCC, *how, f"--offload-arch={architecture}"], folder)
    print(f"{architecture}: {took:.0f} s")


def main(arguments):
    """Compile for the architectures of arguments, or the usual one, or all with --all; 1 where a hot kernel spills."""
    build.write_headers()
    every = "--all" in arguments
    wanted = [a for a in arguments if not a.startswith("-")]
    with tempfile.TemporaryDirectory() as folder:
        bad = 0
        if nvcc():
            for architecture in wanted or (ALL_CUDA if every else CUDA):
                bad += cuda(architecture, Path(folder))
        else:
            print("gpu-check: no nvcc on this machine; the CUDA module is not compiled")
        if shutil.which("hipcc") and not wanted:
            for architecture in [*HIP, *NO_LIBRARY] if every else HIP[:1]:
                hip(architecture, Path(folder))
    if bad:
        print(f"gpu-check: {bad} hot kernels keep registers in memory")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The machine's limits, measured by limits.c: what reading and arithmetic could reach at most, here and now."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
from pathlib import Path

from llamafile.gguf.reader import open_path
from runtime import build

FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench"
SOURCE = Path(__file__).with_name("limits.c")
UNITS = ("int8", "bf16", "f32")
TARGET = ["-march=native"]
WINDOW = 0.005  # seconds: short ones find a moment in which nothing else runs


class Missing(Exception):
    """Something that a measurement needs is not here; the text says what to do."""


def use(isa):
    """Measure arithmetic with the instructions of one instruction set instead of all that this machine has."""
    TARGET[:] = build.ISAS.get(platform.machine(), {}).get(isa, [])
    library.cache_clear()
    peak.cache_clear()


@functools.cache
def library():
    """limits.c compiled for this very machine; raises Missing where that fails."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC") or "cc"
    flags = ["-std=gnu11", "-O2", *TARGET, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    key = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, flags)).encode()).hexdigest()[:16]
    target = FOLDER / f"limits-{key}.so"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        command = [compiler, *flags, str(SOURCE), "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"limits.c: cannot be compiled: {done.stderr.strip()}")
        fresh.replace(target)
    found = ctypes.CDLL(str(target))
    found.lf_read.restype = found.lf_peak.restype = ctypes.c_double
    found.lf_read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    found.lf_peak.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
    return found


def bandwidth(address, length, threads):
    """Bytes a second of reading `length` bytes at an address once, each thread its part."""
    seconds = library().lf_read(address, length, threads)
    if seconds <= 0:
        raise Missing(f"limits: {threads} threads cannot be had")
    return length / seconds


def file_bandwidth(file, threads):
    """Bytes a second of reading an open GGUF through its own mappings."""
    seconds = sum(m.length / bandwidth(m.address, m.length, threads) for m in file.mappings)
    return sum(m.length for m in file.mappings) / seconds


@functools.cache
def peak(unit, threads, windows=100):
    """Multiplications and additions a second of a unit: the best of some short windows; 0 where there is none."""
    number = UNITS.index(unit)
    if not library().lf_has(number):
        return 0.0
    return max(library().lf_peak(number, threads, WINDOW) for _ in range(windows))


def unit_of(format_name):
    """The unit that bounds products with weights of a format: a float unit for floats, else bytes."""
    if format_name == "f32" or (format_name in ("f16", "bf16") and not library().lf_has(UNITS.index("bf16"))):
        return "f32"
    return "bf16" if format_name in ("f16", "bf16") else "int8"


def measure(report, options, path):
    """Report all limits; `path` is the GGUF whose mapping is read."""
    several = sorted({1, options.threads})
    with open_path(path) as file:
        size = sum(m.length for m in file.mappings)
        for threads in several:
            file_bandwidth(file, threads)  # bring the pages in
            best = max(file_bandwidth(file, threads) for _ in range(2 * options.rounds))
            report.add("limits", f"reading {size >> 20} MiB, mapped", on(threads),
                       best / 1e9, "GB/s")
    for unit in UNITS:
        for threads in several:
            rate = peak(unit, threads)
            if rate:
                report.add("limits", f"{unit} multiply-add on registers", on(threads), rate / 1e9, "GOPS")


def on(threads):
    """A number of threads in words."""
    return f"{threads} thread{'s' * (threads > 1)}"

"""Packaging: zipalign beside cp on a large file, and new arguments in a very large one."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time

from zipalign.sources import Entry
from zipalign.writer import append

from . import limits
from .report import ratio, rounds

SIZE, QUICK_SIZE = 1 << 30, 32 << 20
HUGE = 40 << 30
ROOT = limits.FOLDER.parents[1]


def timed(command, program=None):
    """Seconds that a command takes after the disk has come to rest; `program` is what runs under its first word."""
    os.sync()
    started = time.perf_counter()
    subprocess.run(command, executable=program, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def zipalign(archive, path):
    """Seconds that `zipalign -0 -j ARCHIVE PATH` takes: the executable under that name, or the package without one."""
    built, words = limits.FOLDER.parent / "llamafile", ["-0", "-j", str(archive), str(path)]
    if os.access(built, os.X_OK):
        return timed(["zipalign", *words], built)
    return timed([sys.executable, "-m", "zipalign", *words])


def fill(path, size):
    """Write a file of `size` bytes in which no block is a hole or like its neighbour."""
    chance = random.Random(5)
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(chance.randbytes(min(1 << 24, size - file.tell())))


def measure(report, options):
    """Report zipalign against cp, and the replacement of .args."""
    limits.FOLDER.mkdir(parents=True, exist_ok=True)
    beside_cp(report, options, limits.FOLDER, QUICK_SIZE if options.quick else SIZE)
    arguments(report, options, limits.FOLDER)


def beside_cp(report, options, folder, size):
    """Alternating rounds of both, each writing a new file of the same size in the same folder."""
    source, box, copy = folder / "large.bin", folder / "large.zip", folder / "large.copy"
    fill(source, size)

    def package():
        box.unlink(missing_ok=True)
        return zipalign(box, source)

    def plain():
        copy.unlink(missing_ok=True)
        return timed(["cp", "--reflink=never", str(source), str(copy)])

    try:
        package(), plain()  # the source is in the page cache from here on
        ours, theirs = rounds(options.rounds, package, plain)
    finally:
        for path in (source, box, copy):
            path.unlink(missing_ok=True)
    what = f"{size >> 20} MiB into a new file"
    report.add("packaging", what, "zipalign -0, beside cp", statistics.median(ours) * 1e3, "ms",
               peer=statistics.median(theirs) * 1e3, ratio=ratio(ours, theirs))


def arguments(report, options, folder):
    """Replace .args in an archive of 40 GB of holes: the work itself, and the whole command."""
    hole, box, words = folder / "hole.bin", folder / "huge.zip", folder / ".args"
    with open(hole, "wb") as file:
        file.truncate(HUGE)
    try:
        box.unlink(missing_ok=True)
        append(box, [Entry("weights.gguf", hole), Entry(".args", b"-m\nweights.gguf\n")])
        words.write_bytes(b"-m\nweights.gguf\n--temp\n0\n")

        def inside():
            started = time.perf_counter()
            append(box, [Entry(".args", words)])
            return time.perf_counter() - started

        own, whole = rounds(options.rounds, inside, lambda: zipalign(box, words))
    finally:
        for path in (hole, box, words):
            path.unlink(missing_ok=True)
    what = f"{HUGE >> 30} GB archive of holes"
    report.add("packaging", what, ".args replaced, in process", statistics.median(own) * 1e3, "ms")
    report.add("packaging", what, ".args replaced, command", statistics.median(whole) * 1e3, "ms")

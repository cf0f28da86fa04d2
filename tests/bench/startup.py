"""A start of the built executable, from exec to the first token, taken apart by the marks that -v tells."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time

from zipalign.sources import Entry
from zipalign.writer import append

from . import limits, models
from .limits import Missing

PROMPT = "The sea is full of fish and the"  # eight tokens of SmolLM2
COUNT, LARGE = 20, 10 << 30
# Each part ends at a mark; what lies between two of them is what the second one's row tells.
PARTS = {
    "main": "exec → the launcher's main", "directory": "→ own ZIP directory read", "python": "→ Python initialised",
    "ours": "→ first line of ours", "model": "→ model open", "program": "→ graph, lower, program open",
    "prompt": "→ prompt computed", "token": "→ first token printed",
}  # fmt: skip


def executable(options):
    """The engine with SmolLM2 in it: the one that `make run` makes, else one made here from build/llamafile."""
    build = limits.FOLDER.parent
    made, engine, own = build / "smollm2.llamafile", build / "llamafile", limits.FOLDER / "smollm2.llamafile"
    if options.executable:
        return options.executable
    if not os.access(engine, os.X_OK):
        raise Missing("build/llamafile: is not there; run make executable")
    if made.exists() and made.stat().st_mtime >= engine.stat().st_mtime:
        return made
    if not own.exists() or own.stat().st_mtime < engine.stat().st_mtime:
        fresh, weights = own.with_suffix(".fresh"), models.weights.fetch("smollm2")
        fresh.unlink(missing_ok=True)
        shutil.copy2(engine, fresh)
        append(fresh, [Entry(weights.name, weights), Entry(".args", f"-m\n{weights.name}\n".encode())])
        os.utime(fresh)
        fresh.replace(own)
    return own


def start(path):
    """Run one start; returns its marks in nanoseconds from the moment of exec, `exit` among them."""
    command = [str(path), "-p", PROMPT, "-n", "1", "--temp", "0", "--no-display-prompt", "-v"]
    began = time.monotonic_ns()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    ended = time.monotonic_ns()
    if done.returncode:
        raise Missing(f"{path}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    marks = {name: value - began for name, value in parse(done.stderr.decode(errors="replace")).items()}
    return {**marks, "exit": ended - began}


def parse(text):
    """The marks in what -v writes: name → nanoseconds; raises Missing where there are none."""
    found = re.search(r"moments in ns: (.*)", text)
    marks = dict(re.findall(r"(\w+) (\d+)", found.group(1))) if found else {}
    if not set(PARTS) <= set(marks):
        raise Missing("start-up: -v tells no moments; the executable is older than its sources, run make executable")
    return {name: int(marks[name]) for name in PARTS}


def parts(marks):
    """Name → nanoseconds of each part of one start, in order."""
    before, found = 0, {}
    for name in PARTS:
        found[name] = marks[name] - before
        before = marks[name]
    return found


def measure(report, options):
    """Report the parts, the whole, and the same with 10 GB behind the weights."""
    count = 3 if options.quick else COUNT
    path = executable(options)
    large = limits.FOLDER / "large.llamafile"
    extend(path, large)
    try:
        runs = alternated(count, path, large)
    finally:
        large.unlink()
    for name, what in PARTS.items():
        report.add("start-up", "SmolLM2, 8 tokens", what, milliseconds(parts(run)[name] for run in runs[0]), "ms")
    for title, own in zip(("SmolLM2, 8 tokens", "the same, 10 GB behind it"), runs):
        report.add("start-up", title, "exec to first line of ours", milliseconds(run["ours"] for run in own), "ms")
        report.add("start-up", title, "exec to first token", milliseconds(run["token"] for run in own), "ms")
        report.add("start-up", title, "all but computing",
                   milliseconds(run["token"] - parts(run)["prompt"] for run in own), "ms")
    report.add("start-up", "SmolLM2, 8 tokens", "exec to exit", milliseconds(run["exit"] for run in runs[0]), "ms")


def milliseconds(nanoseconds):
    """The median of some times, in milliseconds."""
    return statistics.median(nanoseconds) / 1e6


def alternated(count, *paths):
    """Warm runs of some executables in turn, two of each thrown away."""
    runs = [[start(path) for path in paths] for _ in range(count + 2)]
    return [list(column) for column in zip(*runs[2:])]


def extend(path, target):
    """Copy an executable and put 10 GB of holes behind it."""
    hole = target.with_suffix(".hole")
    try:
        with hole.open("wb") as file:
            file.truncate(LARGE)
        shutil.copy2(path, target)
        append(target, [Entry("hole.bin", hole)])
    finally:
        hole.unlink(missing_ok=True)

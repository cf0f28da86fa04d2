"""`python -m tests.bench`: runs the sections in order, prints one table, writes build/bench.csv."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from runtime import cpu
from runtime.threads import physical_cores
from tests import weights

from . import (
    cores,
    grammars,
    limits,
    long,
    models,
    packaging,
    peers,
    products,
    server_start,
    serving,
    speculation,
    startup,
)
from .report import Report

SECTIONS = ("limits", "products", "models", "long", "serving", "speculation", "startup", "server", "packaging",
            "grammars", "cores")


def read_options(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything, in less than a minute")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    parser.add_argument("--large", action="store_true", help="also a llama of 1.1B, random weights, made once (5 GB)")
    parser.add_argument("--peer", type=Path, metavar="PATH", help="a llama-bench to run in turns with the models")
    parser.add_argument("--executable", type=Path, help="with SmolLM2 in it, for the start-up; else that of build/")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--rounds", type=int, help="5 unless given")
    parser.add_argument("--isa", choices=cpu.available(), help="the instruction set of products and models")
    parser.add_argument("--csv", type=Path, default=limits.FOLDER.parent / "bench.csv")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def readable():
    """The GGUF whose mapping is read for the bandwidth: the largest that is here."""
    found = [weights.CACHE / model.file for model in weights.MODELS.values() if (weights.CACHE / model.file).exists()]
    return max(found, key=lambda path: path.stat().st_size) if found else weights.fetch("smollm2")


def describe(report, options):
    """Say on what machine this runs, and how busy it is."""
    load = os.getloadavg()[0]
    busy = "" if load < 0.5 else " (something else is running: figures will be low)"
    report.note(f"{processor()}, {options.threads} threads, {cpu.chosen()}, load {load:.1f}{busy}")


def processor():
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(": ")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main(argv=None):
    """Run what is asked for; returns the exit status."""
    options, report = read_options(argv), Report()
    if options.isa:
        cpu.choose(options.isa)
        limits.use(options.isa)
    sections = {
        "limits": lambda: limits.measure(report, options, readable()),
        "products": lambda: products.measure(report, options),
        "models": lambda: models.measure(report, options),
        "long": lambda: long.measure(report, options),
        "serving": lambda: serving.measure(report, options),
        "speculation": lambda: speculation.measure(report, options),
        "startup": lambda: startup.measure(report, options),
        "server": lambda: server_start.measure(report, options),
        "packaging": lambda: packaging.measure(report, options),
        "grammars": lambda: grammars.measure(report, options),
        "cores": lambda: cores.measure(report, options),
    }
    status = 0
    limits.FOLDER.mkdir(parents=True, exist_ok=True)
    describe(report, options)
    if options.peer:
        report.note(peers.describe(options.peer, readable(), options.threads))
    report.head()
    try:
        for name in options.only or SECTIONS:
            report.note(f"{name}: load {os.getloadavg()[0]:.1f}")
            try:
                sections[name]()
            except (limits.Missing, weights.Unavailable) as problem:
                report.note(f"{name}: left out: {problem}")
                status = 1
    finally:
        report.write(options.csv)  # what was measured so far is kept when somebody presses Ctrl-C
    return status


if __name__ == "__main__":
    sys.exit(main())

"""`python -m llamafile.freeze`: builds the executable engine."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import llamafile
from llamafile.errors import LlamafileError
from llamafile.freeze import assemble, bytecode, collect, cpython, licenses, link, natives, tls, zig
from llamafile.page import build as page


def build(output: Path, python: link.Python, work: Path) -> None:
    """Collect, compile, link and assemble with the given Python; work keeps what the steps leave behind."""
    there = {*python.builtin, *python.extensions}
    found = collect.for_library(collect.collect(work / "collect"), python.standard, there)
    found = found._replace(extensions=found.extensions | python.extensions)
    objects = natives.static_objects(python, work / "natives")
    head = link.link_head(python, objects, work / "link")
    inside = {*python.builtin, *objects}
    members = head.members | bytecode.compile_all(found.modules, python.command)
    members |= natives.extension_members(found, inside, python.target)
    members |= page.members()
    members |= collect.data_members() | licenses.license_members(found, python, members)
    facts = {
        "version": llamafile.VERSION,
        "revision": revision(),
        "python": python.version,
        "target": python.target,
    }
    assemble.assemble(output, head.image, members, facts)


def need_tools() -> None:
    """Raise LlamafileError where a program is missing that CPython and OpenSSL are built by, before anything begins."""
    missing = [name for name in ("make", "patch", "perl", "tar") if not shutil.which(name)]
    if "perl" not in missing and subprocess.run(["perl", "-MIPC::Cmd", "-e", "1"], capture_output=True).returncode:
        missing.append("perl")  # every Debian has one, but not with the modules that OpenSSL is configured with
    if missing:
        names = " ".join(missing)
        raise LlamafileError(f"{names}: not found, and the release is built with it; run: apt-get install {names}")


def revision() -> str:
    """The git revision of the checkout, with a plus sign when files differ from it; `unknown` outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=collect.ROOT,
            capture_output=True,
            text=True,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "unknown"


def main() -> int:
    """Read the command line and build; a failure is one message and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m llamafile.freeze", description=__doc__)
    parser.add_argument("--output", type=Path, default=collect.ROOT / "build" / "llamafile", help="the file to write")
    parser.add_argument("--release", action="store_true", help="with a CPython built for old and new Linux systems")
    parser.add_argument("--target", default=zig.TARGET, help="for --release: machine, C library and its oldest version")
    parser.add_argument(
        "--shared", action="store_true", help="with this Python's shared library though it has a static one"
    )
    chosen = parser.parse_args()
    try:
        if chosen.release:
            need_tools()
            built = cpython.build(collect.ROOT / "build" / "cpython", chosen.target)
            tls.build(built)
            python = link.python_built(built)
        else:
            python = link.python_at_hand()
        if chosen.shared:
            python = python._replace(library=None)
        work = chosen.output.parent / f"freeze-{chosen.output.name}"
        work.mkdir(parents=True, exist_ok=True)
        with open(work / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would write to the same objects
            build(chosen.output, python, work)
    except LlamafileError as error:
        print(f"llamafile: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.output}: {chosen.output.stat().st_size:,} bytes, Python {python.version} for {python.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

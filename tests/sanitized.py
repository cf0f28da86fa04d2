"""A pytest plugin, `-p tests.sanitized`: sanitized builds of the C modules instead of the ordinary ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llamafile
import runtime
from llamafile.build import native
from runtime import build

ROOT = Path(__file__).resolve().parent.parent

kind = os.environ.get("LLAMAFILE_SANITIZED")
if kind:
    for package in (runtime, llamafile):
        package.__path__.insert(0, str(build.BUILD / kind / package.__name__))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with these arguments in a process whose C is under ASan and UBSan; builds what is not built yet."""
    for module in (build.core(), native()):
        build.build(module, sanitize=True)
    # Python itself leaks what it keeps until its end; UBSan's reports end the process as ASan's do.
    return _run(arguments, "sanitized", "libasan.so", {
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    })  # fmt: skip


def run_for_races(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same with the engine's C under TSan, which sees what threads do without waiting for each other."""
    build.build(build.core(), races=True)
    # TSan cannot live with addresses as random as some kernels make them.
    return _run(arguments, "races", "libtsan.so", {"TSAN_OPTIONS": "halt_on_error=1"}, ["setarch", "-R"])


def _run(arguments: tuple[str, ...], kind: str, library: str, options: dict[str, str],
         before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    compiler = os.environ.get("CC") or "cc"
    found = subprocess.run([compiler, f"-print-file-name={library}"], capture_output=True, text=True)
    environment = {**os.environ, **options, "LLAMAFILE_SANITIZED": kind, "LD_PRELOAD": found.stdout.strip()}
    # -s: what a sanitizer says before it ends the process must not end in a captured file.
    command = [sys.executable, "-m", "pytest", "-p", "tests.sanitized", "-p", "no:cacheprovider", "-s", *arguments]
    return subprocess.run([*(before or ()), *command], capture_output=True, text=True, cwd=ROOT, env=environment)

"""A pytest plugin, `-p tests.sanitized`: the sanitized builds of the C modules instead of the ordinary ones."""

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

if os.environ.get("LLAMAFILE_SANITIZED"):
    for package in (runtime, llamafile):
        package.__path__.insert(0, str(build.BUILD / "sanitized" / package.__name__))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with these arguments in a process whose C is under ASan and UBSan; builds what is not built yet."""
    for module in (build.core(), native()):
        build.build(module, sanitize=True)
    compiler = os.environ.get("CC") or "cc"
    library = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True)
    # Python itself leaks what it keeps until its end; UBSan's reports end the process as ASan's do.
    environment = {
        **os.environ, "LLAMAFILE_SANITIZED": "1", "LD_PRELOAD": library.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }  # fmt: skip
    # -s: what a sanitizer says before it ends the process must not end in a captured file.
    command = [sys.executable, "-m", "pytest", "-p", "tests.sanitized", "-p", "no:cacheprovider", "-s", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)

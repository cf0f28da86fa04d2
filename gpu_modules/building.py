"""Running a compiler: every attempt in a log, a limit of time, nothing left behind that is half done."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

from gpu_modules import GpuFault
from gpu_modules.compilers import command

LIMIT = 900  # seconds for one attempt


class Failed(GpuFault):
    """The compiler did its work and failed: the next start need not try again."""


class Unusable(GpuFault):
    """What was built does not pass the probe: another way to build it would cost minutes and end the same."""


class Log:
    """The file that holds command lines and all that compilers and probe said."""

    def __init__(self, path):
        self.path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close

    def line(self, text):
        """Add a line of our own."""
        self._file.write(text.encode("utf-8", "surrogateescape") + b"\n")
        self._file.flush()

    def fileno(self):
        """For a child that writes into it."""
        return self._file.fileno()

    def close(self):
        """Finish it."""
        self._file.close()


def attempt(kind, compiler, flags, folder, output, log, limit=LIMIT):
    """Compile the unit in `folder` to `output`; raises Failed, or GpuFault where it was not the compiler's word."""
    words = command(kind, compiler, flags, folder, output)
    log.line(f"$ {shlex.join(words)}")
    started = time.monotonic()
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
                                 start_new_session=True)  # fmt: skip
    except OSError as problem:
        raise GpuFault(f"{compiler.path}: cannot be run ({problem.strerror})") from None
    try:
        status = child.wait(limit)
    except subprocess.TimeoutExpired:
        raise GpuFault(f"{compiler.path}: was not done after {limit:g} s; its words are in {log.path}") from None
    finally:
        if child.poll() is None:  # too slow, or the user has had enough: end it with what it started
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        log.line(f"= status {child.returncode} after {time.monotonic() - started:.1f} s")
    if status < 0:
        raise GpuFault(f"{compiler.path}: was ended by signal {-status}; its words are in {log.path}")
    if status:
        raise Failed(f"{compiler.path}: fails with status {status}{_last_words(log.path)}; all of it is in {log.path}")
    if not os.path.exists(output) or not os.path.getsize(output):
        raise Failed(f"{compiler.path}: says that all is well, but made nothing; see {log.path}")


def _last_words(path):
    """The first line of the log's last attempt that speaks of an error, for a message of one line."""
    with open(path, errors="replace") as file:
        lines = file.read().rpartition("\n$ ")[2].splitlines()
    wrong = [line.strip() for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    return f" ({wrong[0][:200]})" if wrong else ""

"""Commands as a user starts them, watched from outside: when the first byte comes, and how much memory is taken."""

from __future__ import annotations

import os
import subprocess
import time

from .limits import Missing

WAIT = 0.002  # seconds between two looks at a process


def first_byte(command):
    """Seconds from starting a command to the first byte on its standard output."""
    started = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with child:
        first = os.read(child.stdout.fileno(), 1)
        took = time.monotonic() - started
        _, complaint = child.communicate()
    if child.returncode or not first:
        raise Missing(f"{command[0]}: gave no answer: {complaint.decode(errors='replace').strip()[-300:]}")
    return took


def peak_memory(command):
    """The largest resident size of a command in bytes; getrusage would count this process's own, from before exec."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while child.poll() is None:
        most = max(most, _high_water(child.pid))
        time.sleep(WAIT)
    if child.returncode:
        raise Missing(f"{command[0]}: ended with status {child.returncode}")
    return most


def _high_water(pid):
    """VmHWM of a process in bytes; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0

"""Random system calls with likely arguments under the filter: nothing outside the process changes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.bpf import numbers

ROOT = Path(__file__).resolve().parents[2]

# Calls that end the process, or take its memory or its time away: allowed, and nothing could be seen behind them.
SELF_HARM = """
    exit exit_group rt_sigreturn munmap mremap brk mprotect madvise pause rt_sigsuspend rt_sigtimedwait futex poll ppoll
    select pselect6 epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep wait4 waitid read readv recvfrom
    recvmsg accept accept4 rt_sigaction rt_sigprocmask sigaltstack kill tgkill clone vfork fork mmap set_robust_list
    dup2 dup3 close close_range rseq set_tid_address pread64 preadv futex_wait futex_waitv io_getevents
    preadv2 restart_syscall arch_prctl io_pgetevents mq_timedreceive msgrcv semtimedop semop flock
""".split()  # noqa: SIM905

# Of x86-64's own uprobes: newer kernels let these past every filter, and answer any call but a probe's with SIGILL.
PROBES = {335, 336}

CHILD = """
import ctypes, json, mmap, os, random, sys
seed, mode, count, bad = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), set(json.loads(sys.argv[4]))
from llamafile import sandbox
from llamafile.sandbox import filters
libc = ctypes.CDLL(None)
libc.syscall.restype = ctypes.c_long
chance = random.Random(seed)
texts = (b"file", b"new", b"folder", b".", b"./file", b"folder/new", b"link", b"../outside", b"")
memory = mmap.mmap(-1, 64 * 4096 * (len(texts) + 1))  # room behind each text for whatever the kernel writes there
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
pointers = [start + 64 * 4096 * i for i in range(len(texts) + 1)] + [0]
small = [0, 1, 2, 3, 4, 7, 8, 16, 0x1ff, 0o101, 0x241, 0x1000, 0x10000, -1, -100, os.getppid(), 0x40, 0x22, 1 << 20]
folder = os.open(".", os.O_RDONLY)
held = os.open("held", os.O_RDWR)
libc.alarm(200)
if not sandbox.lock_files([os.open("..", os.O_RDONLY)]):  # the machine is not a test's to spoil, whatever passes
    os._exit(77)
sandbox.install(mode)
for _ in range(count):
    number = chance.randrange(0, 480) if chance.random() < 0.97 else chance.randrange(-1, 1 << 30)
    arguments = [chance.choice(small + pointers * 3 + [folder, held, chance.getrandbits(64)]) for _ in range(6)]
    if number in bad:
        continue
    for i, text in enumerate(texts):
        memory[64 * 4096 * i : 64 * 4096 * i + len(text) + 1] = text + b"\\0"
    libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
os._exit(0)
"""


def tree(folder: Path):
    """All that is to be known about a folder: names, kinds, modes, owners, sizes, times, contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "held":
            continue  # open for writing since before the door closed
        s = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_mtime_ns, s.st_ctime_ns, content)
    return found


def fuzz(folder, seed, mode, count, numbers_left_out):
    """Run one child in a folder of its own; returns its exit status and whether the world around it has changed."""
    inside = folder / "inside"
    inside.mkdir(parents=True)
    for path in (inside / "file", inside / "held", folder / "outside"):
        path.write_text("text")
    (inside / "folder").mkdir()
    (inside / "link").symlink_to("file")
    before = tree(folder)
    words = [str(seed), mode, str(count), json.dumps(sorted(numbers_left_out))]
    done = subprocess.run([sys.executable, "-c", CHILD, *words], cwd=inside, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=300, start_new_session=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done, tree(folder) != before


@pytest.mark.parametrize("mode", ["server", "cli", "chat", "combined"])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_changes(tmp_path, victim, mode, seed):
    known = numbers(platform.machine())
    out = {known[name] for name in SELF_HARM if name in known} | PROBES
    done, changed = fuzz(tmp_path / "f", seed, mode, 20000, out)
    if done.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert done.returncode == 0, done
    assert not changed


def test_the_same_calls_would_be_seen(tmp_path):
    """The control: where opening and renaming are allowed, as the broker's filter does, the same calls leave traces."""
    known = numbers(platform.machine())
    out = {known[name] for name in SELF_HARM if name in known} | PROBES
    ran = [fuzz(tmp_path / str(seed), seed, "broker", 20000, out) for seed in range(3)]
    if any(done.returncode == 77 for done, _ in ran):
        pytest.skip("this kernel has no Landlock")
    assert any(changed for _, changed in ran)

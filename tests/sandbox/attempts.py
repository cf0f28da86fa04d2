"""What a hijacked process would try, as Python text that runs inside one, in threads old and new."""

from __future__ import annotations

import json

from tests.sandbox.bpf import numbers

# Everything is loaded and made ready before the door closes; `attempts()` is called behind it and gives name → errno,
# 0 where the call went through. Pointers are to memory that is right for the call, so that only a filter says no.
TEXT = """
import ctypes, json, mmap, os, struct, sys, threading
import _socket as socket_module

N = json.loads(NUMBERS)
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
victim = int(os.environ["VICTIM"])
listener = socket_module.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(5)
def address(port): return struct.pack("=HH4s8x", 2, ((port & 255) << 8) | port >> 8, bytes([127, 0, 0, 1]))
target = address(listener.getsockname()[1])
idle, unbound = socket_module.socket(), socket_module.socket()
page = mmap.mmap(-1, 4096)
page_at = ctypes.addressof(ctypes.c_char.from_buffer(page))
params, how = ctypes.create_string_buffer(256), struct.pack("=QQQ", 0, 0, 0)
word = ctypes.create_string_buffer(8)
here = struct.pack("=QQ", ctypes.addressof(word), 8)
there = struct.pack("=QQ", page_at, 8)
NOWHERE, PASSWD, BASH = b"/nonexistent/x", b"/etc/passwd", b"/bin/true"

def call(name, *arguments):
    ctypes.set_errno(0)
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(N[name]), *values)
    error = ctypes.get_errno() if result == -1 else 0
    if not error and name in OPENERS:
        os.close(result)
    return error

OPENERS = {"openat", "openat2", "socket", "memfd_create", "io_uring_setup", "pidfd_open", "inotify_init1",
           "userfaultfd"}

def forked():
    try:
        child = os.fork()
    except OSError as wrong:
        return wrong.errno
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return 0

def attempts():
    at = -100  # AT_FDCWD
    return {
        "open to read": call("openat", at, PASSWD, 0), "open to write": call("openat", at, NOWHERE, 0o101, 0o600),
        "openat2": call("openat2", at, PASSWD, how, 24), "open a terminal": call("openat", at, b"/dev/tty", 2),
        "own memory by /proc": call("openat", at, b"/proc/self/mem", 2),
        "socket": call("socket", 2, 1, 0), "unix socket": call("socket", 1, 1, 0), "netlink": call("socket", 16, 3, 0),
        "socketpair": call("socketpair", 1, 1, 0, params),
        "connect": call("connect", idle.fileno(), target, 16), "bind": call("bind", unbound.fileno(), address(0), 16),
        "listen": call("listen", unbound.fileno(), 1),
        "send that connects": call("sendto", unbound.fileno(), b"x", 1, 0x20000000, target, 16),
        "execve": call("execve", NOWHERE, 0, 0), "execveat": call("execveat", at, NOWHERE, 0, 0, 0), "fork": forked(),
        "ptrace": call("ptrace", 1, victim, 0, 0),
        "process_vm_readv": call("process_vm_readv", victim, here, 1, there, 1, 0),
        "kill": call("kill", victim, 0), "kill all": call("kill", -1, 0), "kill group": call("kill", 0, 0),
        "tgkill": call("tgkill", victim, victim, 0), "tkill": call("tkill", victim, 0),
        "pidfd_open": call("pidfd_open", victim, 0),
        "mprotect exec": call("mprotect", page_at, 4096, 7), "mmap exec": call("mmap", 0, 4096, 7, 0x22, -1, 0),
        "pkey_mprotect": call("pkey_mprotect", page_at, 4096, 5, -1), "memfd_create": call("memfd_create", b"x", 0),
        "io_uring_setup": call("io_uring_setup", 1, params), "bpf": call("bpf", 0, 0, 0), "unshare": call("unshare", 0),
        "setns": call("setns", -1, 0), "userfaultfd": call("userfaultfd", 0),
        "mount": call("mount", 0, NOWHERE, 0, 0, 0),
        "chroot": call("chroot", NOWHERE), "unlinkat": call("unlinkat", at, NOWHERE, 0),
        "renameat2": call("renameat2", at, NOWHERE, at, NOWHERE, 0), "mkdirat": call("mkdirat", at, NOWHERE, 0o700),
        "symlinkat": call("symlinkat", NOWHERE, at, NOWHERE), "linkat": call("linkat", at, NOWHERE, at, NOWHERE, 0),
        "fchmodat": call("fchmodat", at, NOWHERE, 0), "truncate": call("truncate", NOWHERE, 0),
        "mknodat": call("mknodat", at, NOWHERE, 0o10600, 0), "stat": call("newfstatat", at, PASSWD, params, 0),
        "setuid": call("setuid", os.getuid()), "personality": call("personality", 0xFFFFFFFF),
        "inotify_init1": call("inotify_init1", 0), "prctl": call("prctl", 4, 1, 0, 0, 0),
        "fcntl setown": call("fcntl", listener.fileno(), 8, victim), "ioctl TIOCSTI": call("ioctl", 0, 0x5412, b"x"),
        "prlimit of another": call("prlimit64", victim, 7, 0, params),
        "set prlimit": call("prlimit64", 0, 7, params, 0), "seccomp": call("seccomp", 0, 1, 0),
    }

# And what must go on working: name → errno again.
def needs():
    ran = []
    thread = threading.Thread(target=lambda: ran.append(1)); thread.start(); thread.join()
    found = {"thread": 0 if ran else -1}
    for name, act in {
        "memory": lambda: bytearray(64 << 20), "random": lambda: os.urandom(8), "fstat": lambda: os.fstat(0),
        "own signal": lambda: os.kill(os.getpid(), 0), "clock": lambda: __import__("time").sleep(0.001),
        "write": lambda: os.write(2, b""), "cores": lambda: os.sched_getaffinity(0), "isatty": lambda: os.isatty(0),
    }.items():
        try:
            act(); found[name] = 0
        except OSError as wrong:
            found[name] = wrong.errno
    return found

# A thread that was there before the door closed, and one that is started behind it.
_wake, _done, _found = threading.Event(), threading.Event(), {}
def _old():
    _wake.wait(); _found["old"] = attempts(); _done.set()
_thread_before = threading.Thread(target=_old, daemon=True); _thread_before.start()

def everywhere():
    _found["main"] = attempts()
    new = threading.Thread(target=lambda: _found.__setitem__("new", attempts())); new.start(); new.join()
    _wake.set(); _done.wait()
    _found["needs"] = needs()
    return _found
"""


def text(machine: str) -> str:
    """The text with the numbers of this machine put in."""
    return f"NUMBERS = {json.dumps(numbers(machine))!r}\n{TEXT}"

"""The door in real processes: what a hijacked one tries fails in every thread, what it needs works on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.executable import built

EPERM, ENOSYS = 1, 38
PATIENCE = 120  # seconds, which only a failure takes

CLOSE = """
from llamafile import sandbox
class Options: unsecure = False
sandbox.preload(MODE if MODE != "combined" else "server")
assert sandbox.close_door(MODE, Options)
print(json.dumps(everywhere()))
"""


def check(found):
    """Every attempt fails in every thread, everything that is needed works."""
    for thread in ("main", "old", "new"):
        passed = {name: error for name, error in found[thread].items() if error not in (EPERM, ENOSYS)}
        assert not passed, thread
        assert len(found[thread]) > 50
    assert not any(found["needs"].values()), found["needs"]


def status(process):
    """The fields of /proc/PID/task/*/status, one mapping a thread."""
    fields = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that was about to end
            lines = (task / "status").read_text().splitlines()
            fields.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return fields


def of_this_process():
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.parametrize("mode", ["server", "cli", "chat", "combined"])
def test_every_mode(start, mode):
    process = start(f"MODE = {mode!r}\n{CLOSE}")
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    check(json.loads(out))


def test_without_the_sandbox_the_same_attempts_pass(start):
    """The control: nothing but the sandbox makes them fail, apart from the few that a system may forbid to all."""
    process = start("print(json.dumps(everywhere()))")
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    denied = {name for name, error in json.loads(out)["main"].items() if error in (EPERM, ENOSYS)}
    may_be = {"io_uring_setup", "bpf", "userfaultfd", "unshare", "chroot", "ptrace", "process_vm_readv", "openat2",
              "mount", "mknodat", "pidfd_open", "kill all", "pkey_mprotect", "setuid", "seccomp"}
    assert denied <= may_be


@pytest.mark.models
def test_the_command_line(start, tinycoder):
    """While it writes: a filter more than we have in every thread, and nothing else to be had."""
    before = of_this_process()
    words = ["-m", tinycoder, "-p", "def", "-n", "8", "--temp", "0", "-t", "3", "-v"]
    process = start(built.stopped(words, "json.dumps(everywhere())"))
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("{"):
            break
    threads = status(process)
    assert len(threads) >= 3
    for fields in threads:
        assert fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "1"
        assert int(fields["Seccomp_filters"]) == int(before["Seccomp_filters"]) + 1
    check(json.loads(lines[-1]))
    out, errors = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert out.startswith("def") and len(out) > len("def\n")
    assert any("sandbox: active: seccomp (cli) in all threads" in line for line in lines)


@pytest.mark.models
def test_unsecure(start, tinycoder):
    words = ["-m", tinycoder, "-p", "def", "-n", "4", "--temp", "0", "-t", "2", "-v", "--unsecure"]
    process = start(built.stopped(words, "json.dumps(everywhere())"))
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("{"):
            break
    assert {fields["Seccomp_filters"] for fields in status(process)} == {of_this_process()["Seccomp_filters"]}
    assert json.loads(lines[-1])["main"]["open to read"] == 0
    _, errors = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert any(line == "llamafile: sandbox: is off: --unsecure\n" for line in lines)


WRITES = """
from llamafile import sandbox
class Options: unsecure = False
assert sandbox.give_up_writing(Options)
print(json.dumps(attempts()))
"""


def test_before_the_model_is_read(start):
    """Landlock alone, which comes first: reading is left, no writing, no connections, no signals to others."""
    process = start(WRITES)
    out, errors = process.communicate(timeout=PATIENCE)
    if "AssertionError" in errors:
        pytest.skip("this kernel has no Landlock")
    found = json.loads(out)
    assert found["open to read"] == 0 and found["openat2"] == 0
    for name in ("open a terminal", "connect", "bind", "kill"):
        assert found[name] in (1, 13), name

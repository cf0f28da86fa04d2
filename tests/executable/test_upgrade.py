"""A new engine goes under old weights: nothing moves, nothing is lost, at every moment the file runs or explains."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from llamafile import engine as layout
from llamafile import upgrade_engine
from llamafile.errors import LlamafileError
from llamafile.freeze import assemble
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

from .built import ROOT, run

pytestmark = pytest.mark.built
WEIGHTS = os.urandom(400_000)


@pytest.fixture(scope="module")
def newer(engine, tmp_path_factory):
    """An executable whose engine differs: another revision, one member more, one less."""
    path = tmp_path_factory.mktemp("newer") / "newer"
    with Archive.open(engine) as old:
        facts = layout.facts(old)
        names = [name for name in old.members if name != layout.STAMP and name != "py/cProfile.pyc"]
        members = {name: old.read(old.members[name]) for name in names}
        size = int(facts["head"].split()[0])
        head = os.pread(old.fd, size, 0)
    members["runtime/added.h"] = b"new\n"
    kept = {key: facts[key] for key in ("version", "python", "target")}
    assemble.assemble(path, head, members, {**kept, "revision": "new-revision"})
    return path


@pytest.fixture
def mine(engine, tmp_path):
    """An executable with weights and arguments, as a user has it."""
    path = tmp_path / "mine"
    shutil.copy(engine, path)
    append(path, [Entry("weights.bin", WEIGHTS), Entry("notes", b"--temp\n0\n")])
    return path


def _weights(path):
    with Archive.open(path) as archive:
        member = archive.members["weights.bin"]
        assert archive.read(member) == WEIGHTS
        assert archive.read(archive.members["notes"]) == b"--temp\n0\n"
        return archive.data_offset(member)


def test_upgrade_keeps_weights_where_they_are(mine, newer):
    before = _weights(mine)
    said = upgrade_engine.upgrade(str(mine), str(newer))
    assert "new-revision" in said
    assert _weights(mine) == before
    done = run(mine, "--version")
    assert "new-revision" in done.stdout
    assert done.stderr == ""
    with Archive.open(mine) as archive:
        assert layout.head_problem(archive) is None
        assert layout.PREVIOUS_HEAD not in archive.members
        assert archive.read(archive.members["runtime/added.h"]) == b"new\n"
        assert os.pread(archive.fd, 4, 0) == b"\x7fELF"
    assert run("unzip", "-tqq", mine).returncode in (0, 1)  # 1: bytes before the first member, which is the head
    assert run(mine, "--verify").returncode == 0


def test_upgrade_twice_and_back(mine, newer, engine):
    before = _weights(mine)
    upgrade_engine.upgrade(str(mine), str(newer))
    size = mine.stat().st_size
    assert "already" in upgrade_engine.upgrade(str(mine), str(newer))
    assert mine.stat().st_size == size
    upgrade_engine.upgrade(str(mine), str(engine))
    assert _weights(mine) == before
    assert "new-revision" not in run(mine, "--version").stdout
    with Archive.open(mine) as archive:
        assert "runtime/added.h" not in archive.members


def test_damaged_head_is_mended_by_the_same_engine(mine, engine):
    with open(mine, "r+b") as file:
        file.seek(100_000)
        file.write(bytes(5000))
    upgrade_engine.upgrade(str(mine), str(engine))
    _weights(mine)
    with Archive.open(mine) as archive:
        assert layout.head_problem(archive) is None
    assert run(mine, "--version").returncode == 0


def test_by_the_command_of_the_new_executable(mine, newer):
    done = run(newer, "upgrade-engine", mine)
    assert done.returncode == 0, done.stderr
    assert "new-revision" in run(mine, "--version").stdout


def test_refusals(mine, newer, tmp_path):
    plain = tmp_path / "plain.zip"
    append(plain, [Entry("a", b"a")])
    with pytest.raises(LlamafileError, match="no engine of this program"):
        upgrade_engine.upgrade(str(plain), str(newer))
    with pytest.raises(LlamafileError, match="has no engine"):
        upgrade_engine.upgrade(str(mine), str(plain))
    damaged = tmp_path / "damaged"
    data = bytearray(newer.read_bytes())
    data[70_000] ^= 1
    damaged.write_bytes(data)
    before = mine.read_bytes()
    with pytest.raises(LlamafileError, match="damaged"):
        upgrade_engine.upgrade(str(mine), str(damaged))
    assert mine.read_bytes() == before


def test_running_file_is_refused_and_left_alone(mine, newer):
    before = mine.read_bytes()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    with subprocess.Popen([mine, "--version"], stdout=writing) as stuck:  # at its first line
        done = run(newer, "upgrade-engine", mine)
        stuck.kill()
    os.close(reading)
    os.close(writing)
    assert done.returncode == 1
    assert "is running" in done.stderr
    assert mine.read_bytes() == before


# Stops itself at the nth write to the file or change of its length as kill -9 would: half the pages of it are written.
_KILLED = """
import os, signal, sys
stop = int(sys.argv[1])
def counted(call):
    def counting(*words):
        global stop
        stop -= 1
        if stop == 0:
            if call is real_write:
                fd, data, at = words
                call(fd, memoryview(data)[: max(0, (at + len(data) // 2) // 4096 * 4096 - at)], at)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words)
    return counting
real_write = os.pwrite
os.pwrite, os.ftruncate = counted(os.pwrite), counted(os.ftruncate)
from llamafile import upgrade_engine
upgrade_engine.upgrade(sys.argv[2], sys.argv[3])
print(-stop)
"""


def _killed(step, victim, newer):
    command = [sys.executable, "-c", _KILLED, str(step), str(victim), str(newer)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_killed_at_any_write(mine, newer, tmp_path):
    victim = tmp_path / "victim"
    shutil.copy(mine, victim)
    writes = int(_killed(0, victim, newer).stdout)
    assert writes > 15  # the members, the directory and each part of the head were written in steps
    for step in [1, 2, 3, writes // 2, *range(writes - 14, writes + 1)]:
        shutil.copy(mine, victim)
        done = _killed(step, victim, newer)
        assert done.returncode == -signal.SIGKILL, done.stderr
        started = run(victim, "--version")
        if started.returncode:
            assert started.stderr.startswith("llamafile: "), (step, started)
            assert "upgrade-engine" in started.stderr, (step, started)
        else:
            assert started.stdout.startswith("llamafile 0.1.0"), (step, started)
        upgrade_engine.upgrade(str(victim), str(newer))
        _weights(victim)
        after = run(victim, "--version")
        assert "new-revision" in after.stdout, (step, after)
        assert after.stderr == "", (step, after)

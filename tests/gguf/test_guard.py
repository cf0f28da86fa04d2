"""A model's file that another process cuts short while it is in use: one line and exit status 1, whoever finds it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executable import built

ROOT = Path(__file__).resolve().parents[2]
CUT = "llamafile: {}: was cut short while it was in use, or its disk fails; copy it again\n"


@pytest.fixture(params=["sources", pytest.param("executable", marks=pytest.mark.built)])
def python(request, tmp_path):
    if request.param == "sources":
        return sys.executable
    return str(built.probe(tmp_path, built.executable()))


@pytest.mark.models
@pytest.mark.parametrize(("kept", "flags"), [(0, []), (1 << 20, ["-t", "2"]), (1 << 20, ["--unsecure"])])
def test_while_it_writes(python, tinycoder, tmp_path, kept, flags):
    model = tmp_path / "model.gguf"
    shutil.copy(tinycoder, model)
    words = ["-m", str(model), "-p", "def", "-n", "50", "--temp", "0", "--ignore-eos", *flags]
    process = subprocess.Popen([python, "-c", built.stopped(words, "'stopped'")], stdin=subprocess.PIPE, cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "stopped" not in (line := process.stderr.readline()):
        assert line
    os.truncate(model, kept)
    out, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, errors) == (1, CUT.format(model))
    assert out.startswith("def")


MAPPED = """
import os, sys, threading
from llamafile.gguf.mapping import Mapping
fd = os.open(sys.argv[1], os.O_RDONLY)
mapping = Mapping(fd, 4096, 60000, "weights")
other = Mapping(fd, 100, 3000, "head")
"""


def run(code, path):
    done = subprocess.run([sys.executable, "-c", MAPPED + code, str(path)], capture_output=True, text=True, cwd=ROOT)
    return done.returncode, done.stderr


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(65536))
    return path


def test_in_any_thread_and_in_the_right_mapping(file):
    cut = "os.truncate(sys.argv[1], 0)\n"
    assert run(f"{cut}mapping.view[50000]", file) == (1, CUT.format("weights"))
    file.write_bytes(bytes(65536))
    assert run(f"{cut}other.view[2000]", file) == (1, CUT.format("head"))
    file.write_bytes(bytes(65536))
    many = ("threads = [threading.Thread(target=lambda: mapping.view[20000]) for _ in range(8)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n")
    assert run(cut + many, file) == (1, CUT.format("weights"))


def test_elsewhere_it_stays_what_it_was(file):
    """A fault of the program, and a signal that somebody sends, end it as ever."""
    unguarded = ("import mmap\nplain = mmap.mmap(fd, 65536, prot=mmap.PROT_READ)\nos.truncate(sys.argv[1], 0)\n"
                 "plain[30000]\n")
    assert run(unguarded, file) == (-signal.SIGBUS, "")
    file.write_bytes(bytes(65536))
    assert run("os.kill(os.getpid(), 7)\nimport time; time.sleep(5)", file) == (-signal.SIGBUS, "")
    closed = "import mmap\nmapping.close(); other.close()\n" + unguarded
    assert run(closed, file) == (-signal.SIGBUS, "")


def test_a_terminal_is_left_as_it_was(file):
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    code = ("import tty\nfrom llamafile._native import lib\nlib.lf_guard_terminal(0)\ntty.setraw(0)\n"
            "os.truncate(sys.argv[1], 0)\nmapping.view[50000]\n")
    done = subprocess.run([sys.executable, "-c", MAPPED + code, str(file)], stdin=theirs, capture_output=True, cwd=ROOT)
    assert done.returncode == 1
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)

"""Flags that say which processors are used and how readily: what they read, what the system then shows, bad values."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from llamafile import processors
from llamafile.arguments import read
from llamafile.errors import LlamafileError
from runtime import nodes
from tests.oracles import tiny, tiny_gguf
from tests.runtime import simulated

ALLOWED = os.sched_getaffinity(0)
FIRST = min(ALLOWED)


@pytest.fixture
def affinity():
    """What a test does to this process's processors is undone."""
    yield
    os.sched_setaffinity(0, ALLOWED)


def choose(words):
    told: list[str] = []
    processors.choose(read(words.split(), environment={}), told.append)
    return told


def test_masks():
    assert processors.of_mask("0x5") == {0, 2}
    assert processors.of_mask("F0") == {4, 5, 6, 7}
    assert processors.of_mask("1" + "0" * 25) == {100}


def test_ranges():
    assert processors.of_range("2-4") == {2, 3, 4}
    assert processors.of_range("-1") == {0, 1}
    assert processors.of_range("1000-") == set(range(1000, 1024))


@pytest.mark.parametrize(("words", "said"), [
    ("--cpu-mask 0xg", "is not a hexadecimal number"), ("--cpu-mask 0x", "is not a hexadecimal number"),
    ("-C " + "f" * 257, "at most 256 digits"), ("--cpu-range 3", "is not LO-HI"), ("--cpu-range -", "is not LO-HI"),
    ("--cpu-range a-b", "is not LO-HI"), ("-Cr 1-" + "9" * 5000, "is not LO-HI"),
    ("--cpu-range 900-950", "has none of the processors that may be used, "),
    ("--cpu-mask 0x0", "has none of the processors that may be used, "),
    ("--cpu-range 5-2", "has none of the processors"),
])  # fmt: skip
def test_bad_values(words, said, affinity):
    with pytest.raises(LlamafileError, match=re.escape(said)) as caught:
        choose(words)
    assert "\n" not in str(caught.value)
    assert os.sched_getaffinity(0) == ALLOWED


@pytest.mark.parametrize("words", ["--cpu-strict 2", "--prio 4", "--prio -2", "--poll 101", "--poll -1"])
def test_values_out_of_range(words):
    with pytest.raises(LlamafileError):
        read(words.split(), environment={})


def test_the_process_keeps_to_them(affinity):
    assert choose(f"--cpu-range {FIRST}-{FIRST}") == []
    assert os.sched_getaffinity(0) == {FIRST}
    os.sched_setaffinity(0, ALLOWED)
    assert choose(f"--cpu-mask {1 << FIRST:x} --numa numactl") == []
    assert os.sched_getaffinity(0) == {FIRST}


def test_isolate_keeps_to_the_node_that_it_started_on(affinity, tmp_path, monkeypatch):
    """A simulated machine whose nodes have one of our processors each."""
    ours = sorted(ALLOWED)
    root = simulated.write(tmp_path, f"0-{len(ours) - 1}", {i: str(cpu) for i, cpu in enumerate(ours)}, {})
    real = nodes.layout
    monkeypatch.setattr("runtime.nodes.layout", lambda cpus=None: real(cpus, root))
    for cpu in ours:
        os.sched_setaffinity(0, {cpu})
        os.sched_setaffinity(0, ALLOWED)  # it goes on running where it is, for the moment
        monkeypatch.setattr(processors, "_running_on", lambda cpu=cpu: cpu)
        choose("--numa isolate")
        assert os.sched_getaffinity(0) == {cpu}
        os.sched_setaffinity(0, ALLOWED)


def test_where_it_runs(affinity):
    for cpu in ALLOWED:
        os.sched_setaffinity(0, {cpu})
        assert processors._running_on() == cpu


def test_a_refused_priority_is_said_and_nothing_lost(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert choose("--prio 2") == ["--prio 2: Permission denied; root may, or whom `ulimit -e` lets"]


WATCH = """
import os, sys
from llamafile import __main__
import llamafile.cli.engine as engine
note = engine._banner
def tell(model, session):
    tasks = sorted(os.listdir("/proc/self/task"), key=int)
    cpus = [sorted(os.sched_getaffinity(int(t))) for t in tasks]
    print("SEEN", cpus, os.getpriority(os.PRIO_PROCESS, 0), file=sys.stderr)
    return note(model, session)
engine._banner = tell
sys.exit(__main__.main(sys.argv[1:]))
"""


def seen(path, *words):
    """The processors of each thread, and the priority, when the command line has opened its model."""
    done = subprocess.run([sys.executable, "-c", WATCH, "-m", str(path), "-p", "a", "-n", "1", *words],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    cpus, _, nice = re.search(r"^SEEN (.*) (-?\d+)$", done.stderr, re.M)[0][5:].rpartition(" ")
    return eval(cpus), int(nice), done.stderr


def test_the_command_line_does_what_the_flags_say(tmp_path):
    path = tiny_gguf.write(tiny.MODELS["llama3"], tmp_path / "m.gguf", "Q4_0")
    ours = sorted(ALLOWED)
    usual, nice, _ = seen(path, "-t", "2")
    assert usual == [ours] * 2
    cpus, _, said = seen(path, "-t", "3", "--cpu-strict", "1", "--poll", "0")
    assert cpus == [[ours[i % len(ours)]] for i in range(3)]
    assert "no effect" not in said
    cpus, lower, said = seen(path, "--cpu-range", f"{FIRST}-{FIRST}", "--prio", "-1", "--numa")
    assert cpus == [[FIRST]], "as many threads as processors"
    assert lower == nice + 5 or lower == 5
    assert "1 threads" in said

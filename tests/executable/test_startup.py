"""How long a start takes, what it imports, and that neither grows with what was appended."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from zipalign.sources import Entry
from zipalign.writer import append

from .built import run

pytestmark = pytest.mark.built

LIMIT = 0.015  # seconds from exec to the first line of our own Python, warm
FIRST = "import os; os._exit(0)"

# Everything between exec and the call of main(), which is what the launcher and the frozen interpreter cost.
BEFORE_MAIN = """
    __future__ __main__ _abc _codecs _frozen_importlib _frozen_importlib_external _imp _io _launcher _signal _thread
    _warnings _weakref abc builtins codecs encodings encodings.aliases encodings.utf_8 io marshal posix
    runtime runtime.launcher runtime.launcher.run sys time zipimport
""".split()  # noqa: SIM905

# What a run may import of others up to its first token; all else of the standard library is imported where it is used.
HOT = """
    _collections_abc _locale _stat _struct atexit errno genericpath mmap os os.path posixpath stat struct _sitebuiltins
    _cffi_backend math _operator itertools _functools
""".split()  # noqa: SIM905


def _seconds(*command):
    """Processor time of a command, which a warm start consists of: other work on the machine adds less to it than to
    the clock's."""
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime


def _least(*commands, count=20):
    """The least of each command's runs, which take turns: nothing makes one cheaper, what else runs makes it dearer."""
    for command in commands:
        _seconds(*command)
    runs = [[_seconds(*command) for command in commands] for _ in range(count)]
    return [min(column) for column in zip(*runs, strict=True)]


def test_exec_to_first_line_and_what_lies_behind(probe, tmp_path):
    """Below the limit, or on a slow machine below two plain interpreters; and 10 GB behind it change nothing."""
    large, weights = tmp_path / "large", tmp_path / "weights"
    shutil.copy(probe, large)
    with open(weights, "wb") as file:
        file.truncate(10 << 30)
    append(large, [Entry("weights.bin", weights)])
    assert large.stat().st_size > 10 << 30
    assert large.stat().st_blocks * 512 < 1 << 30
    bare = (sys.executable, "-I", "-S", "-c", "pass")
    alone, with_weights, python = _least((probe, "-c", FIRST), (large, "-c", FIRST), bare)
    assert alone < max(LIMIT, 2 * python)
    assert with_weights < max(LIMIT, 2 * python)
    assert with_weights < 1.3 * alone


def test_modules_before_main(probe):
    text = "import sys; print(*sorted(set(sys.modules) - {'llamafile', 'llamafile.__main__'}))"
    assert run(probe, "-c", text).stdout.split() == sorted(BEFORE_MAIN)


def test_times_of_the_start_are_told(probe):
    text = "from _launcher import times; print(list(times), *times.values())"
    names, _, values = run(probe, "-c", text).stdout.rpartition("] ")
    assert names == "['cpu_before_main', 'main', 'directory', 'python'"
    processor, main, directory, python = map(int, values.split())
    assert 0 < processor < main < directory < python


@pytest.mark.models
def test_modules_up_to_the_first_token(probe, smollm2):
    text = (
        "import sys\nfrom llamafile import program_itself\n"
        f"status = program_itself.main(['-m', {os.fspath(smollm2)!r}, '-p', 'The sea', '-n', '1', '--temp', '0'])\n"
        "sys.stdout.flush(); print('\\n', *sorted(sys.modules)); print(status)"
    )
    done = run(probe, "-c", text)
    *_, modules, status = done.stdout.splitlines()
    assert status == "0", done.stderr
    ours = ("llamafile", "zipalign", "runtime", "gpu_modules")
    others = {name for name in modules.split() if name.split(".")[0] not in ours}
    assert others - set(BEFORE_MAIN) - set(HOT) == set()

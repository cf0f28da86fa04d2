"""How long a start takes, what it imports, and that neither grows with what was appended."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time

import pytest

from zipalign.sources import Entry
from zipalign.writer import append

from .built import run

pytestmark = pytest.mark.built

LIMIT = 0.015  # seconds from exec to the first line of our own Python, warm
FIRST = "import time, os; os.write(1, b'%d' % time.monotonic_ns()); os._exit(0)"

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


def _seconds_to_first_line(path):
    begin = time.monotonic_ns()
    done = subprocess.run([path, "-c", FIRST], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
    return (int(done.stdout) - begin) / 1e9


def _median(path, count=20):
    for _ in range(3):
        _seconds_to_first_line(path)
    return statistics.median(_seconds_to_first_line(path) for _ in range(count))


def _measured(measure, limit):
    """The least of a few medians: other work on the machine can only add to one."""
    best = measure()
    for _ in range(4):
        if best < limit:
            break
        time.sleep(1)
        best = min(best, measure())
    return best


def test_exec_to_first_line(probe):
    assert _measured(lambda: _median(probe), LIMIT) < LIMIT


def test_ten_gigabytes_behind_it_change_nothing(probe, tmp_path):
    copy = tmp_path / "large"
    shutil.copy(probe, copy)
    with open(tmp_path / "weights", "wb") as file:
        file.truncate(10 << 30)
    append(copy, [Entry("weights.bin", tmp_path / "weights")])
    assert copy.stat().st_size > 10 << 30
    assert copy.stat().st_blocks * 512 < 1 << 30
    alone = _median(probe)
    limit = alone + 0.002
    assert _measured(lambda: _median(copy), limit) < max(limit, LIMIT)


def test_modules_before_main(probe):
    text = "import sys; print(*sorted(set(sys.modules) - {'llamafile', 'llamafile.__main__'}))"
    assert run(probe, "-c", text).stdout.split() == sorted(BEFORE_MAIN)


def test_times_of_the_start_are_told(probe):
    text = "import _launcher as l; t = l.times; print(t['main'] < t['directory'] < t['python'], t['cpu_before_main'] > 0)"
    assert run(probe, "-c", text).stdout == "True True\n"


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

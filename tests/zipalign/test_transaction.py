"""Nothing is ever half done: kills at every system call, full disks, signals, other runs, running programs."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.zipalign import oracles, parse
from tests.zipalign.test_writer import noise, sparse
from zipalign import ZipError
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

OLD = {"engine": noise(5000, 1), "folder/päth": b"old", **{f"m{i}": b"%d" % i for i in range(120)}}
NEW = {"model": noise(300000, 2), "stream": noise(40000, 3), ".args": b"new"}
PAGE = 4096


def quiet(_: str) -> None:
    """Say nothing."""


def old_entries() -> list[Entry]:
    return [Entry(name, data, align=16) for name, data in OLD.items()]


def new_entries(folder: Path) -> list[Entry]:
    (folder / "model").write_bytes(NEW["model"])
    chunks = [NEW["stream"][i : i + 10000] for i in range(0, 40000, 10000)]
    return [Entry("model", folder / "model"), Entry("stream", iter(chunks)), Entry(".args", NEW[".args"])]


def forked(work: Callable[[], object]) -> int:
    """Do something in a child; returns its process id, and its exit status is 0 only where nothing was raised."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(child: int) -> int:
    """Wait for a child and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Killer:
    """In a child: kills the process at its n-th write to a file, before, within (at a page's end) or after it."""

    def __init__(self, call: int, when: str):
        self.left, self.when = call, when
        self.pwrite, self.truncate = os.pwrite, os.ftruncate

    def arm(self) -> None:
        os.pwrite, os.ftruncate = self._pwrite, self._ftruncate

    def _now(self) -> bool:
        self.left -= 1
        return self.left < 0

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _pwrite(self, fd, data, at):
        if not self._now():
            return self.pwrite(fd, data, at)
        first = PAGE - at % PAGE  # the kernel copies page by page and looks for SIGKILL in between
        if self.when == "after":
            self.pwrite(fd, data, at)
        elif self.when == "page" and first < len(data):
            self.pwrite(fd, memoryview(data)[:first], at)
        elif self.when == "half" and first + PAGE < len(data):
            self.pwrite(fd, memoryview(data)[: first + (len(data) - first) // 2 // PAGE * PAGE], at)
        return self._die()

    def _ftruncate(self, fd, size):
        if self._now():
            if self.when == "after":
                self.truncate(fd, size)
            self._die()
        return self.truncate(fd, size)


def killed(path: Path, entries: list[Entry], call: int, when: str, **more) -> bool:
    """Append in a child that is killed at one of its calls; False where it ended before that call."""
    def work() -> None:
        Killer(call, when).arm()
        append(path, entries, say=quiet, **more)

    code = ended(forked(work))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def state(path: Path) -> tuple[dict[str, bytes], int | None]:
    """What our reader sees."""
    with Archive.open(path) as archive:
        return {name: archive.read(member) for name, member in archive.members.items()}, archive.interrupted


@pytest.mark.parametrize("stub", [b"", b"\x7fELF" + noise(9000)], ids=["archive", "executable"])
@pytest.mark.parametrize("when", ["before", "page", "half", "after"])
def test_kill_at_every_call(tmp_path, monkeypatch, stub, when):
    monkeypatch.setattr("zipalign.transaction.AHEAD", 20000)  # so that the stream outgrows its room
    start, whole = tmp_path / "start", tmp_path / "whole"
    start.write_bytes(stub)
    append(start, old_entries())
    shutil.copy(start, whole)
    append(whole, new_entries(tmp_path), remove=["m7"])
    wanted = {name: data for name, data in OLD.items() if name != "m7"} | NEW
    seen = []
    for call in range(100):
        path = tmp_path / "killed"
        shutil.copy(start, path)
        if not killed(path, new_entries(tmp_path), call, when, remove=["m7"]):
            break
        members, interrupted = state(path)
        by_parser = parse.contents(path)  # takes offsets as given, as the launcher does
        if members == wanted:
            seen.append("new")
            assert interrupted is None and by_parser == wanted and path.read_bytes() == whole.read_bytes()
            continue
        assert members == OLD == by_parser
        assert path.read_bytes().startswith(start.read_bytes())
        if interrupted is None:
            assert path.read_bytes() == start.read_bytes()
            seen.append("same")
            continue
        assert interrupted == start.stat().st_size
        try:
            oracles.accepts("zipfile", path)
            seen.append("whole to all")
        except (zipfile.BadZipFile, AssertionError):
            seen.append("whole to us")
        said: list[str] = []
        append(path, new_entries(tmp_path), remove=["m7"], say=said.append)
        assert len(said) == 1 and f"dropping the {path_size(path, whole, said)} bytes" in said[0]
        assert "122 members" in said[0] and path.read_bytes() == whole.read_bytes()
    else:
        pytest.fail("never came to an end")
    assert len(seen) > 12 and seen.count("whole to all") > 8
    assert seen.count("whole to us") <= 4  # the instants between the two writes of an end record, two tails
    assert ("new" in seen) == (when == "after") and ("same" in seen) == (when != "after")


def path_size(path: Path, whole: Path, said: list[str]) -> str:
    """The number a line names; that it is one is all that can be known afterwards."""
    assert path.stat().st_size == whole.stat().st_size
    number = said[0].split("dropping the ")[1].split()[0]
    assert number.isdigit()
    return number


@pytest.mark.parametrize("when", ["before", "page", "after"])
def test_kill_while_a_file_is_created_or_a_plain_program_gets_its_first_member(tmp_path, when):
    for stub in (None, b"\x7fELF" + noise(9000)):
        for call in range(100):
            path = tmp_path / "file"
            path.unlink(missing_ok=True)
            if stub:
                path.write_bytes(stub)
            if not killed(path, [Entry("a", noise(9000, 4))], call, when):
                assert call >= 4
                break
            assert path.read_bytes().startswith(stub or b"")
            said: list[str] = []
            append(path, [Entry("b", b"b")], say=said.append)
            expected = {"b": b"b"} if said or call == 0 else {"a": noise(9000, 4), "b": b"b"}
            assert state(path) == (expected, None)
            assert parse.contents(path) == expected


def test_killed_by_the_clock(tmp_path):
    """The real thing: a process in the middle of its work, at moments nobody chose."""
    (tmp_path / "model").write_bytes(noise(1 << 20) * 150)
    path = tmp_path / "a"
    append(path, old_entries())
    start, seen = path.read_bytes(), set()
    for wait in (0.0, 0.05, 0.1, 0.15, 0.25, 0.45):
        running = subprocess.Popen([sys.executable, "-m", "zipalign", "-1", path, tmp_path / "model"])
        while path.stat().st_size == len(start):  # the time it takes to come up is the machine's
            assert running.poll() is None
        time.sleep(wait)
        running.kill()
        running.wait()
        members, interrupted = state(path)
        if running.returncode == 0:  # a fast machine was done by then
            assert set(members) == {*OLD, "model"} and interrupted is None
            path.write_bytes(start)
            continue
        seen.add(interrupted)
        assert members == OLD and interrupted in (None, len(start))
        append(path, [], say=quiet)
        assert path.read_bytes() == start
    assert len(start) in seen


def test_kill_on_a_file_that_needs_zip64(tmp_path):
    start = sparse(tmp_path / "start", 5 << 30, {0: b"\x7fELF"})
    append(start, old_entries(), say=quiet)
    first = start.stat().st_size
    for call in range(100):
        if not killed(start, [Entry("a", noise(9000))], call, "after"):
            break
        members, interrupted = state(start)
        assert parse.contents(start) == members
        if interrupted is None:
            break
        assert members == OLD and interrupted == first
        append(start, [], say=quiet)
        assert start.stat().st_size == first
    assert call == 5 and members == OLD | {"a": noise(9000)}


def test_reading_while_a_run_is_at_work(tmp_path):
    path = tmp_path / "a"
    append(path, old_entries())
    end = path.stat().st_size

    def chunks():
        for i in range(3):
            assert state(path) == (OLD, end)
            oracles.accepts("zipfile", path)
            oracles.accepts("unzip", path)
            yield noise(100000, i)

    append(path, [Entry("s", chunks())])
    assert set(state(path)[0]) == {*OLD, "s"}


def test_the_oldest_form_of_interruption_garbage_from_another_program(tmp_path):
    path = tmp_path / "a"
    append(path, old_entries())
    good = path.stat().st_size
    with open(path, "ab") as file:
        file.write(noise(200000) + b"PK\5\6" + noise(100) + b"PK\5\6")
        file.truncate(3 << 30)
    before = path.stat().st_size
    with pytest.raises(ZipError, match="does not end in a ZIP directory"):
        Archive.open(path)
    began = time.process_time()
    said: list[str] = []
    append(path, [Entry("b", b"b")], say=said.append)
    assert time.process_time() - began < 5
    assert f"the {before - good} bytes behind the last good directory (122 members, byte {good})" in said[0]
    assert state(path) == (OLD | {"b": b"b"}, None)
    assert parse.contents(path) == OLD | {"b": b"b"}


def test_an_archive_inside_a_truncated_one_is_not_taken_for_it(tmp_path):
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    append(inner, [Entry("wrong", b"wrong")])
    append(outer, [Entry("right", b"right")])
    append(outer, [Entry("inner.zip", inner), Entry("large", noise(300000))])
    with open(outer, "r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1000)
    append(outer, [Entry("more", b"more")], say=quiet)
    assert state(outer)[0] == {"right": b"right", "more": b"more"}


@pytest.fixture
def file(tmp_path) -> tuple[Path, bytes, os.stat_result]:
    """An archive of long ago, with its bytes and times."""
    path = tmp_path / "archive"
    append(path, old_entries())
    os.utime(path, ns=(10**18, 10**18 + 1))
    return path, path.read_bytes(), path.stat()


def untouched(file: tuple[Path, bytes, os.stat_result]) -> None:
    """Assert that a failed run has left no trace."""
    path, data, before = file
    after = path.stat()
    assert path.read_bytes() == data
    assert (after.st_mtime_ns, after.st_ino, after.st_mode) == (before.st_mtime_ns, before.st_ino, before.st_mode)


def test_failing_stream(file):
    def chunks():
        yield noise(1000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append(file[0], [Entry("s", chunks())])
    untouched(file)


def test_stream_whose_source_cannot_be_read(file):
    def chunks():
        yield noise(1000)
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(ZipError, match=r"^s: cannot be read: Connection reset by peer"):
        append(file[0], [Entry("s", chunks())])
    untouched(file)


def test_failing_stream_into_a_new_file(tmp_path):
    def chunks():
        yield noise(1000)
        raise ZipError("x: y; z")

    with pytest.raises(ZipError, match="x: y; z"):
        append(tmp_path / "new", [Entry("s", chunks())])
    assert not (tmp_path / "new").exists()


def test_file_that_vanishes_or_shrinks_after_it_was_looked_at(file, tmp_path):
    for size, change in ((1000, Path.unlink), (1 << 20, Path.unlink), (1000, lambda p: os.truncate(p, 10)),
                         (20 << 20, lambda p: os.truncate(p, 10 << 20)), (1 << 20, lambda p: os.utime(p, (1, 1)))):
        source = tmp_path / "source"
        source.write_bytes(noise(1000) * (size // 1000))

        def chunks(source=source, change=change):
            change(source)
            yield b"x"

        with pytest.raises(ZipError, match=r"source: .*(No such file|changed|shorter)"):
            append(file[0], [Entry("first", chunks()), Entry("source", source)])
        untouched(file)


def test_error_of_the_disk_under_a_source(file, tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(bytes(1 << 20))
    monkeypatch.setattr("os.preadv", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(ZipError, match=r"source: cannot be read: Input/output error"):
        append(file[0], [Entry("source", tmp_path / "source")])
    monkeypatch.undo()
    untouched(file)


def test_unreadable_source(file, tmp_path):
    source = tmp_path / "secret"
    source.write_bytes(b"x")
    source.chmod(0)
    humble = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    oracles.need(*humble[:1])
    done = subprocess.run([*humble, sys.executable, "-m", "zipalign", file[0], source], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"zipalign: {source}: cannot be read: Permission denied; check the path and its permissions\n"
    untouched(file)


def test_archive_that_may_not_be_written(file):
    file[0].chmod(0o444)
    humble = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    oracles.need(*humble[:1])
    command = [*humble, sys.executable, "-m", "zipalign", file[0], __file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and f"{file[0]}: cannot be opened for writing: Permission denied" in done.stderr
    file[0].chmod(0o644)
    untouched(file)


def test_limit_on_file_size(file):
    """A limit stands in for a full disk where nothing can be mounted: it refuses the first write or a later one."""
    path = file[0]
    for room in (100, 70000, 200000, 500000):
        def work(room=room) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(file[1]) + room, resource.RLIM_INFINITY))
            with pytest.raises(ZipError, match="ulimit -f"):
                append(path, [Entry("s", iter([noise(400000)] * 3)), Entry("t", b"t")])

        assert ended(forked(work)) == 0
        untouched(file)


def test_limit_that_leaves_just_enough_room(file):
    path = file[0]

    def work() -> None:  # 400 kB of stream, then room for two directories of 10 kB, but not for 64 MB ahead
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(file[1]) + 65536 + 500000, resource.RLIM_INFINITY))
        append(path, [Entry("s", iter([noise(400000)]))])

    assert ended(forked(work)) == 0
    assert state(path)[0] == OLD | {"s": noise(400000)}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(small_disk, tmp_path):
    path = small_disk / "a"
    append(path, old_entries())
    os.utime(path, ns=(10**18, 10**18 + 1))
    file = path, path.read_bytes(), path.stat()
    (tmp_path / "model").write_bytes(noise(4 << 20))
    for entries in ([Entry("model", tmp_path / "model")], [Entry("s", iter([noise(1 << 20)] * 4))],
                    [Entry("b", noise(3 << 20))], [Entry(f"{i}", noise(100000), align=1) for i in range(40)]):
        with pytest.raises(ZipError, match=r"a: its disk is full; it was left as it was"):
            append(path, entries)
        untouched(file)
    with pytest.raises(ZipError, match="disk is full"):
        append(small_disk / "new", [Entry("model", tmp_path / "model")])
    assert os.listdir(small_disk) == ["a"]
    (small_disk / "fill").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(ZipError, match="disk is full"):
        append(path, [Entry("b", b"b")])
    untouched(file)
    (small_disk / "fill").unlink()
    append(path, [Entry("b", b"b")])
    assert state(path)[0] == OLD | {"b": b"b"}


SIGNALLED = """
import os, signal, sys
import zipalign.__main__ as program
calls, write, truncate = int(sys.argv.pop(1)), os.pwrite, os.ftruncate
number = int(sys.argv.pop(1))
def pwrite(*given):
    global calls
    calls -= 1
    done = write(*given)
    if calls == 0:
        os.kill(os.getpid(), number)
    return done
def ftruncate(*given):
    os.kill(os.getpid(), number)  # impatience while the work is undone
    return truncate(*given)
os.pwrite, os.ftruncate = pwrite, ftruncate
program.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("call", [1, 4, 9])
def test_signals(file, tmp_path, number, call):
    (tmp_path / "model").write_bytes(bytes(range(256)) * 80000)
    for path in (file[0], tmp_path / "new"):
        done = subprocess.run([sys.executable, "-c", SIGNALLED, str(call), str(int(number)), path, tmp_path / "model"],
                              capture_output=True)
        assert done.returncode == -number, done.stderr
        assert b"Traceback" not in done.stderr
    untouched(file)
    assert not (tmp_path / "new").exists()


def test_ignored_signals_stay_ignored(file, tmp_path):
    (tmp_path / "model").write_bytes(noise(300000))
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SIGNALLED
    done = subprocess.run([sys.executable, "-c", code, "4", str(int(signal.SIGHUP)), file[0], tmp_path / "model"])
    assert done.returncode == 0
    assert len(state(file[0])[0]) == 123


def test_runs_at_once_wait_for_each_other(tmp_path):
    path = tmp_path / "a"

    def work(i: int) -> None:
        for k in range(8):
            append(path, [Entry(f"{i}-{k}", noise(30000, i * 8 + k)), Entry("last", b"%d" % i)], say=quiet)

    children = [forked(partial(work, i)) for i in range(5)]
    assert [ended(child) for child in children] == [0] * 5
    found, interrupted = state(path)
    assert interrupted is None and found.pop("last") in [b"%d" % i for i in range(5)]
    assert found == {f"{i}-{k}": noise(30000, i * 8 + k) for i in range(5) for k in range(8)}
    oracles.accepts("zipfile", path)


def test_second_run_says_that_it_waits_or_is_refused(file):
    path, said = file[0], []

    def chunks():
        began = time.monotonic()
        with pytest.raises(ZipError, match="another run is at work"):
            append(path, [Entry("b", b"b")], wait=0)
        assert time.monotonic() - began < 10
        with pytest.raises(ZipError, match="another run is at work"):
            append(path, [Entry("b", b"b")], wait=0.1)
        yield b"a"
        nonlocal child
        child = forked(lambda: append(path, [Entry("c", b"c")], say=lambda line: os.write(end, line.encode())))
        said.append(os.read(begin, 1000))
        yield b"a"

    child, (begin, end) = 0, os.pipe()
    append(path, [Entry("a", chunks())])
    assert ended(child) == 0
    assert said == [f"{path}: another run is at work on it; waiting for that to end".encode()]
    assert set(state(path)[0]) == {*OLD, "a", "c"}
    os.close(begin)
    os.close(end)


def test_run_that_waited_for_a_file_that_was_taken_away(tmp_path):
    """A failed creation removes the file a second run waits for; that run then makes its own."""
    path = tmp_path / "a"
    begin, end = os.pipe()

    def chunks():
        yield b"a"
        child = forked(lambda: append(path, [Entry("c", b"c")], say=lambda line: os.write(end, b"w")))
        os.read(begin, 1)
        raise KeyError(child)

    with pytest.raises(KeyError) as caught:
        append(path, [Entry("a", chunks())])
    assert ended(caught.value.args[0]) == 0
    assert state(path) == ({"c": b"c"}, None)
    os.close(begin)
    os.close(end)


def test_running_program_is_refused_and_says_why(tmp_path):
    path = tmp_path / "sleep"
    shutil.copy("/bin/sleep", path)
    append(path, [Entry("a", b"a")])
    before = path.read_bytes()
    running = subprocess.Popen([path, "60"])
    try:
        with pytest.raises(ZipError, match="is running"):
            append(path, [Entry("b", b"b")])
    finally:
        running.kill()
        running.wait()
    assert path.read_bytes() == before
    append(path, [Entry("b", b"b")])
    assert set(state(path)[0]) == {"a", "b"}


def test_what_cannot_be_an_archive_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(ZipError, match="regular file"):
            append(path, [Entry("a", b"a")])
    with pytest.raises(ZipError, match="cannot be opened for writing: No such file"):
        append(tmp_path / "none" / "a", [Entry("a", b"a")])


def test_through_a_symbolic_link_also_a_dangling_one(tmp_path):
    (tmp_path / "link").symlink_to("target")
    append(tmp_path / "link", [Entry("a", b"a")])
    append(tmp_path / "link", [Entry("b", b"b")])
    assert (tmp_path / "link").is_symlink() and set(state(tmp_path / "target")[0]) == {"a", "b"}


def test_damaged_directory_is_not_written_over(file):
    path, data, _ = file
    broken = bytearray(data)
    broken[data.rfind(b"PK\1\2") + 2] = 0
    path.write_bytes(broken)
    with pytest.raises(ZipError, match="directory is damaged"):
        append(path, [Entry("a", b"a")])
    assert path.read_bytes() == broken

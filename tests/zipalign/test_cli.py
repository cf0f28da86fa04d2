"""The command line as people type it, the bugs of the tool it follows, and what it prints."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
import zipfile
from pathlib import Path

import pytest

from tests.zipalign import oracles, parse
from tests.zipalign.test_writer import WORDS, noise, sparse


def zipalign(*arguments, cwd: Path | None = None, code: int = 0, **environment: str) -> subprocess.CompletedProcess:
    """Run the command."""
    done = subprocess.run([sys.executable, "-m", "zipalign", *map(str, arguments)], cwd=cwd, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with what the examples name."""
    (tmp_path / "llava-v1.5-7b-Q8_0.gguf").write_bytes(noise(300000))
    (tmp_path / "llava-v1.5-7b-mmproj-Q8_0.gguf").write_bytes(noise(200000))
    (tmp_path / ".args").write_text("-m\nllava-v1.5-7b-Q8_0.gguf\n--mmproj\nllava-v1.5-7b-mmproj-Q8_0.gguf\n...\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "sub" / "run.sh").chmod(0o700)
    shutil.copy("/bin/true", tmp_path / "llava.llamafile")
    return tmp_path


def test_the_documented_call(folder):
    files = ["llava-v1.5-7b-Q8_0.gguf", "llava-v1.5-7b-mmproj-Q8_0.gguf", ".args"]
    done = zipalign("-j0", "llava.llamafile", *files, cwd=folder)
    assert done.stdout == done.stderr == ""
    assert list(parse.contents(folder / "llava.llamafile")) == files
    assert all(m.data % 65536 == 0 and m.method == 0 for m in parse.members(folder / "llava.llamafile"))
    assert subprocess.run([folder / "llava.llamafile"]).returncode == 0
    oracles.accepts("zipfile", folder / "llava.llamafile")


def test_bundles_of_flags_and_their_order(folder):
    zipalign("-vj9", "a.zip", "sub/run.sh", cwd=folder)
    zipalign("-0", "-9", "b.zip", ".args", cwd=folder)
    zipalign("-90", "c.zip", ".args", cwd=folder)
    zipalign("d.zip", "-6", ".args", "-a", "4096", "-v", cwd=folder)
    zipalign("-a64", "-j3N", "e.zip", "sub/run.sh", cwd=folder)
    assert [parse.members(folder / f"{name}.zip")[0].method for name in "abcde"] == [8, 8, 0, 8, 8]
    assert parse.members(folder / "a.zip")[0].name == b"run.sh"
    assert parse.members(folder / "e.zip")[0].data % 64 == 0


def test_names(folder):
    done = zipalign("-v", "a.zip", "sub/run.sh", folder / ".args", "./llava.llamafile", "../" + folder.name +
                    "/llava-v1.5-7b-Q8_0.gguf", cwd=folder)
    full = str(folder / ".args").lstrip("/")
    names = ["sub/run.sh", full, "llava.llamafile", f"{folder.name}/llava-v1.5-7b-Q8_0.gguf"]
    assert [m.name.decode() for m in parse.members(folder / "a.zip")] == names
    assert done.stderr.splitlines()[:2] == ["sub/run.sh -> sub/run.sh", f"{folder}/.args -> {full}"]
    modes = {m.name: m.mode for m in parse.members(folder / "a.zip")}
    assert modes[b"sub/run.sh"] == modes[b"llava.llamafile"] == 0o100755 and modes[names[1].encode()] == 0o100644


def test_the_same_in_every_time_zone(folder):
    sums = set()
    for zone in ("UTC", "Asia/Tokyo", "America/New_York", "Etc/GMT+12"):
        for flag in ("-0", "-N9"):
            out = folder / "out.zip"
            zipalign("-j", flag, out, folder / ".args", folder / "llava-v1.5-7b-Q8_0.gguf", TZ=zone)
            sums.add((flag, hashlib.sha256(out.read_bytes()).hexdigest()))
            out.unlink()
    assert len(sums) == 2


def test_own_time(folder):
    os.utime(folder / ".args", (1700000123, 1700000123))
    zipalign("-N", "a.zip", ".args", cwd=folder)
    oracles.accepts("zipfile", folder / "a.zip")
    oracles.need("unzip")
    subprocess.run(["unzip", "-qo", "a.zip", "-d", "out"], cwd=folder, check=True, env={"TZ": "Asia/Tokyo"})
    assert int((folder / "out" / ".args").stat().st_mtime) == 1700000123


@pytest.mark.parametrize("size", [0, 2 << 20, 4 << 20, (2 << 20) + 1])
@pytest.mark.parametrize("flag", ["-1", "-6", "-9"])
def test_sizes_that_broke_deflating_elsewhere(tmp_path, size, flag):
    (tmp_path / "f").write_bytes((WORDS * 30)[:size])
    zipalign(flag, "a.zip", "f", cwd=tmp_path)
    assert parse.contents(tmp_path / "a.zip") == {"f": (WORDS * 30)[:size]}
    oracles.all_accept(tmp_path / "a.zip")


def test_busybox_reads_small_archives(folder):
    oracles.need("busybox")
    zipalign("-j0", "llava.llamafile", "llava-v1.5-7b-Q8_0.gguf", ".args", cwd=folder)
    zipalign("-r", "llava.llamafile", ".args", cwd=folder)
    zipalign("-6", "llava.llamafile", ".args", cwd=folder)
    oracles.accepts("busybox", folder / "llava.llamafile")
    (folder / "out").mkdir()
    subprocess.run(["busybox", "unzip", "-q", "../llava.llamafile"], cwd=folder / "out", check=True)
    assert (folder / "out" / ".args").read_bytes() == (folder / ".args").read_bytes()
    assert (folder / "out" / "llava-v1.5-7b-Q8_0.gguf").read_bytes() == noise(300000)


def test_force_zip64(folder):
    zipalign("--force-zip64", "a.zip", ".args", cwd=folder)
    assert parse.members(folder / "a.zip")[0].zip64 and parse.end_record(folder / "a.zip")[3]


def test_list(folder):
    zipalign("a.zip", ".args", "llava-v1.5-7b-Q8_0.gguf", cwd=folder)
    zipalign("-9", "-a", "16", "a.zip", "sub/run.sh", cwd=folder)
    lines = zipalign("-l", "a.zip", cwd=folder).stdout.splitlines()
    found = parse.members(folder / "a.zip")
    assert lines[0].split() == ["offset", "aligned", "size", "packed", "method", "name"]
    for line, member in zip(lines[1:], found, strict=True):
        offset, aligned, size, packed, method, name = line.split()
        assert (int(offset), int(size), int(packed), name) == (member.data, member.size, member.packed,
                                                               member.name.decode())
        assert int(offset) % int(aligned) == 0 and int(offset) % (2 * int(aligned)) != 0
        assert method == ("deflated" if member.method else "stored")
    assert len(zipalign("--list", "a.zip", ".args", cwd=folder).stdout.splitlines()) == 2
    assert "has no member nothing" in zipalign("-l", "a.zip", "nothing", cwd=folder, code=1).stderr


def test_list_into_a_pipe_that_closes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(20000):
            archive.writestr(f"{i}", b"")
    command = f"'{sys.executable}' -m zipalign -l '{tmp_path}/a.zip' | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1


def test_remove(folder):
    zipalign("a.zip", ".args", "sub/run.sh", cwd=folder)
    before = (folder / "a.zip").read_bytes()
    zipalign("-r", "a.zip", ".args", cwd=folder)
    assert list(parse.contents(folder / "a.zip")) == ["sub/run.sh"]
    assert (folder / "a.zip").read_bytes().startswith(before)
    assert "has no member .args" in zipalign("--remove", "a.zip", ".args", cwd=folder, code=1).stderr


def test_check(folder):
    zipalign("a.zip", ".args", "sub/run.sh", cwd=folder)
    assert zipalign("--check", "a.zip", cwd=folder).stdout == "a.zip: 2 members: good\n"
    zipalign("-a1", "a.zip", "llava.llamafile", cwd=folder)
    done = zipalign("--check", "a.zip", cwd=folder)
    assert done.stdout == "a.zip: 3 members, 1 of them not on multiples of 65536: good\n"
    done = zipalign("--check", "-a4096", "a.zip", cwd=folder, code=1)
    assert "llava.llamafile lies at byte" in done.stderr and "a.zip: 1 problem found" in done.stderr
    data = bytearray((folder / "a.zip").read_bytes())
    data[parse.members(folder / "a.zip")[0].data] ^= 1
    (folder / "a.zip").write_bytes(data)
    assert ".args is damaged: its CRC-32 is not" in zipalign("--check", "a.zip", cwd=folder, code=1).stderr


def test_check_of_forty_sparse_gigabytes(tmp_path):
    model = sparse(tmp_path / "model", 40 << 30, {0: b"GGUF", 20 << 30: noise(100000)})
    zipalign("-j", tmp_path / "a.zip", model)
    began = os.times()
    zipalign("--check", tmp_path / "a.zip")
    ended = os.times()
    assert sum(ended[2:4]) - sum(began[2:4]) < 5  # of the processor: zeros are not summed up one by one


@pytest.mark.parametrize(("arguments", "code", "text"), [
    ([], 2, "Missing argument"), (["-a", "3", "a.zip", ".args"], 2, "power of two"),
    (["-a", "0", "a.zip", ".args"], 2, "power of two"), (["-a", "x", "a.zip"], 2, "not a valid integer"),
    (["a.zip", "none"], 1, "none: cannot be read: No such file or directory"), (["a.zip", "sub"], 1, "regular file"),
    (["-j", "a.zip", ".args", "./.args"], 1, "name of two"), (["-N", "a.zip", "none"], 1, "none: cannot be read"),
    (["-l", "none"], 1, "none: cannot be opened: No such file"), (["-rl", "a.zip"], 2, "exclude each other"),
    (["--check", "llava.llamafile"], 1, "does not end in a ZIP directory"), (["--bad"], 2, "No such option"),
    (["--check", "sub"], 1, "Is a directory"), (["-l", "sub"], 1, "Is a directory"),
    (["-l", "llava.llamafile"], 1, "does not end in a ZIP directory"), (["sub", ".args"], 1, "not a regular file"),
])
def test_mistakes(folder, arguments, code, text):
    done = zipalign(*arguments, cwd=folder, code=code)
    assert text in done.stderr and done.stdout == ""
    assert code == 2 or all(line.startswith("zipalign: ") for line in done.stderr.splitlines())
    assert not (folder / "a.zip").exists()


def test_names_that_play_tricks(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good\x1b[2Jbad", b"x")
        archive.writestr("模型", b"x")
    done = zipalign("-l", "a.zip", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert "good\\x1b[2Jbad" in done.stdout and "\\u6a21\\u578b" in done.stdout
    assert "模型" in zipalign("-l", "a.zip", cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"badx", b"bady"))
    done = zipalign("--check", "a.zip", cwd=tmp_path, code=1)
    assert "\x1b" not in done.stderr and "good\\x1b[2Jbad is damaged" in done.stderr


def test_wait(folder):
    zipalign("a.zip", ".args", cwd=folder)
    with open(folder / "a.zip", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        done = zipalign("--wait", "0.2", "a.zip", ".args", cwd=folder, code=1)
    assert "another run is at work on it" in done.stderr


def test_help():
    for flag in ("-h", "--help"):
        text = zipalign(flag).stdout
        for option in ("-v ", "-N ", "-j ", "-a INT", "-0 ", "-9 ", "--remove", "--list", "--check", "--force-zip64",
                       "--wait"):
            assert option in text


def test_help_of_what_an_earlier_run_left(folder):
    zipalign("a.zip", ".args", cwd=folder)
    start = (folder / "a.zip").stat().st_size
    code = ("import os; write, calls = os.pwrite, []\ndef pwrite(*a):\n write(*a); calls.append(1)\n"
            " if len(calls) == 3: os.kill(os.getpid(), 9)\n return len(a[1])\nos.pwrite = pwrite\n"
            "from zipalign.__main__ import main; main()")
    done = subprocess.run([sys.executable, "-c", code, "a.zip", "llava-v1.5-7b-Q8_0.gguf"], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == -9
    done = zipalign("-l", "a.zip", cwd=folder)
    assert "packaging was interrupted" in done.stderr and len(done.stdout.splitlines()) == 2
    assert "packaging was interrupted" in zipalign("--check", "a.zip", cwd=folder, code=1).stderr
    done = zipalign("a.zip", "llava-v1.5-7b-Q8_0.gguf", cwd=folder)
    assert "a.zip: an earlier run was interrupted; dropping the " in done.stderr
    assert f"behind the last good directory (1 members, byte {start})" in done.stderr
    assert zipalign("--check", "a.zip", cwd=folder).stdout == "a.zip: 2 members: good\n"


def test_progress_only_on_a_terminal(tmp_path):
    (tmp_path / "model").write_bytes(noise(1 << 20) * 100)
    done = zipalign("a.zip", "model", cwd=tmp_path)
    assert done.stderr == ""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 25, 80, 0, 0))
    running = subprocess.Popen([sys.executable, "-m", "zipalign", "b.zip", "model"], cwd=tmp_path, stderr=child,
                               env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    os.close(child)
    shown = b""
    while True:
        try:
            got = os.read(parent, 1000)
        except OSError:
            break
        if not got:
            break
        shown += got
    assert running.wait() == 0
    os.close(parent)
    assert b"%|" in shown and b"0%" in shown
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_name_that_is_not_utf8(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    done = subprocess.run([sys.executable, "-m", "zipalign", "a.zip", b"\xff"], cwd=tmp_path, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == 1 and b"is not UTF-8" in done.stderr and b"Traceback" not in done.stderr

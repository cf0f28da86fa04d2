"""The launcher's reader of its own directory, under the sanitizers, against Python's zipfile and broken input."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import zipfile
import zlib

import pytest

from llamafile.freeze.collect import ROOT
from zipalign.sources import Entry
from zipalign.writer import append

LAUNCHER = ROOT / "runtime" / "launcher"
MEMBERS = {
    "py/encodings/__init__.pyc": b"x" * 700,
    "py/a/b.pyc": bytes(range(256)) * 9,
    "py/empty.pyc": b"",
    "ext/isal/isal_zlib.so": os.urandom(5000),
    "lib/libz.so.1": b"elf",
    ".engine": b"version 1\n",
    "weights.bin": os.urandom(100_000),
}
OURS = len(MEMBERS) - 1


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The driver, compiled with the sanitizers."""
    target = tmp_path_factory.mktemp("driver") / "driver"
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{LAUNCHER}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [ROOT / "tests" / "executable" / "archive_driver.c", LAUNCHER / "archive.c", LAUNCHER / "crc32.c"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", target, *sources], check=True)

    def read(*paths):
        # What the launcher keeps until the process ends is no leak.
        sanitizer = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        done = subprocess.run([target, *paths], capture_output=True, text=True, env=sanitizer)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == len(paths)
        return lines[-1]

    return read


def _zip(**options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_ordinary_archive(driver, tmp_path):
    (tmp_path / "a").write_bytes(_zip())
    assert driver(tmp_path / "a") == f"{OURS} of {OURS}"


def test_archive_behind_other_bytes(driver, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"head" * 5000)
    append(path, [Entry(name, data, align=1) for name, data in MEMBERS.items()])
    assert driver(path) == f"{OURS} of {OURS}"


def test_zip64_everywhere(driver, tmp_path):
    path = tmp_path / "a"
    append(path, [Entry(name, data) for name, data in MEMBERS.items()], zip64=True)
    assert driver(path) == f"{OURS} of {OURS}"


def test_members_beyond_four_gigabytes(driver, tmp_path):
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.truncate(5 << 30)
    append(path, [Entry(name, data, align=1) for name, data in MEMBERS.items()])
    assert driver(path) == f"{OURS} of {OURS}"


def test_more_members_than_sixteen_bits_count(driver, tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(66_000):
            archive.writestr(f"data/{number}", b"")
        archive.writestr("py/a.pyc", b"here")
    assert driver(path) == "1 of 1"


def test_later_of_two_members_with_one_name(driver, tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("py/a.pyc", b"old")
        archive.writestr("py/a.pyc", b"new")
    assert driver(path) == "2 of 2"


def test_comment_and_bytes_behind_the_end(driver, tmp_path):
    plain = _zip()
    (tmp_path / "a").write_bytes(plain[:-2] + struct.pack("<H", 60_000) + b"c" * 60_000)
    assert driver(tmp_path / "a") == f"{OURS} of {OURS}"
    (tmp_path / "a").write_bytes(plain + b"\0" * 50_000)
    assert "bytes follow" in driver(tmp_path / "a")


def test_deflated_engine_members_are_not_used(driver, tmp_path):
    (tmp_path / "a").write_bytes(_zip(compression=zipfile.ZIP_DEFLATED))
    assert driver(tmp_path / "a") == f"0 of {OURS}"


@pytest.mark.parametrize("size", [0, 1, 21, 22, 65, 70_000])
def test_no_archive(driver, tmp_path, size):
    (tmp_path / "a").write_bytes(bytes(size))
    assert driver(tmp_path / "a").startswith("refused: no ZIP directory")


def test_damaged_member_is_noticed(driver, tmp_path):
    data = bytearray(_zip())
    data[data.index(b"x" * 700) + 300] ^= 1
    (tmp_path / "a").write_bytes(data)
    assert driver(tmp_path / "a") == f"{OURS - 1} of {OURS}"


def _mutated(data, chance):
    data = bytearray(data)
    if chance.random() < 0.2:
        return data[: chance.randrange(len(data))]
    directory = data.index(b"PK\1\2")
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(directory, len(data)) if chance.random() < 0.8 else chance.randrange(len(data))
        kind = chance.choice("BHIQ")
        value = chance.choice((0, 1, chance.getrandbits(64), (1 << 64) - 1, 0xFFFFFFFF, 0x80000000, len(data)))
        size = struct.calcsize(kind)
        if at + size <= len(data):
            struct.pack_into("<" + kind, data, at, value & ((1 << 8 * size) - 1))
    return data


def _fuzz(driver, tmp_path, count, at_once=50):
    path = tmp_path / "wide"
    append(path, [Entry(name, data, align=1) for name, data in MEMBERS.items()], zip64=True)
    originals = [_zip(), path.read_bytes(), _recorded()]
    chance = random.Random(count)
    for _ in range(0, count, at_once):
        names = [tmp_path / str(number) for number in range(at_once)]
        for name in names:
            _write_sparse(name, _mutated(chance.choice(originals), chance))
        driver(*names)


def _write_sparse(path, data):
    """The head's eight megabytes of nothing are not written."""
    begin = len(data) - len(data.lstrip(b"\0"))
    with open(path, "wb") as file:
        file.truncate(len(data))
        file.seek(begin)
        file.write(data[begin:])


def _recorded():
    """An archive behind a head whose record names its directory, as an executable has it, with an end that is lost."""
    head, body = 8 << 20, _zip()
    directory = body[body.index(b"PK\1\2") : body.rindex(b"PK\5\6")]
    moved = bytearray(directory)
    at = 0
    while at < len(moved):
        offset = struct.unpack_from("<I", moved, at + 42)[0]
        struct.pack_into("<I", moved, at + 42, offset + head)
        at += 46 + sum(struct.unpack_from("<HHH", moved, at + 28))
    place = head + body.index(b"PK\1\2")
    record = struct.pack("<8sQQII28x", b"lf-head", place, len(moved), zlib.crc32(moved), zlib.crc32(MEMBERS[".engine"]))
    record += struct.pack("<I", zlib.crc32(record))
    return bytes(head - 64) + record + body[: body.index(b"PK\1\2")] + bytes(moved)


def test_head_knows_its_directory(driver, tmp_path):
    (tmp_path / "a").write_bytes(_recorded())
    assert driver(tmp_path / "a").startswith(f"{OURS} of {OURS}: the ZIP directory at the end is missing")


def test_broken_input(driver, tmp_path):
    _fuzz(driver, tmp_path, 150)


@pytest.mark.long
def test_much_broken_input(driver, tmp_path):
    _fuzz(driver, tmp_path, 6_000)

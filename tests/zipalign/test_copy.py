"""Copying: checksums of data and holes, shared blocks, nothing lost between threads, and the time beside cp's."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.zipalign import oracles, parse
from tests.zipalign.test_writer import noise, sparse
from zipalign import ZipError
from zipalign.checksum import crc32, crc32_zeros
from zipalign.copy import copy_range, extents, settle_cache, sum_range
from zipalign.reader import Archive
from zipalign.sources import Entry, Part
from zipalign.writer import append


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 255, 256, 4096, 1000003])
def test_crc_of_zeros(count):
    for before in (b"", b"a", noise(1000)):
        assert crc32_zeros(zlib.crc32(before), count) == zlib.crc32(bytes(count), zlib.crc32(before))


def test_crc_of_many_zeros():
    crc = zlib.crc32(b"GGUF")
    for _ in range(64):
        crc = zlib.crc32(bytes(1 << 20), crc)
    assert crc32_zeros(zlib.crc32(b"GGUF"), 64 << 20) == crc
    # 2**32 - 1 zero bits more are a whole period of the polynomial: 2**32 - 1 zero bytes lead back to the same value
    assert crc32_zeros(crc, (1 << 32) - 1) == crc


def test_crc_is_zlibs():
    for size in (0, 1, 100, 65537, 1 << 20):
        assert crc32(noise(size)) == zlib.crc32(noise(size))
        assert crc32(memoryview(noise(size)), 12345) == zlib.crc32(noise(size), 12345)


def test_without_the_fast_package():
    code = ("import sys; sys.modules['isal'] = None; import zlib; from zipalign.checksum import crc32; "
            "assert crc32 is zlib.crc32; import zipalign.inflate as i; assert i.codec is zlib; print('done')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_extents_cover_a_range(tmp_path):
    path = sparse(tmp_path / "f", 50 << 20, {0: b"a", 10 << 20: noise(100000), (50 << 20) - 5: b"end"})
    with open(path, "rb") as file:
        for begin, end in ((0, 50 << 20), (5, 10 << 20), ((10 << 20) + 3, (20 << 20) + 7), (49 << 20, 50 << 20)):
            pieces = list(extents(file.fileno(), begin, end))
            assert [p[0] for p in pieces[1:]] == [p[1] for p in pieces[:-1]]
            assert not pieces or (pieces[0][0], pieces[-1][1]) == (begin, end)
            data = path.read_bytes()
            assert all(not data[a:b].strip(b"\0") for a, b, hole in pieces if hole)
        assert any(hole for _, _, hole in extents(file.fileno(), 0, 50 << 20))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (8 << 20) - 1, 8 << 20, (9 << 20) + 5])
def test_copy_range(tmp_path, size):
    data = random.Random(size).randbytes(size + 20)
    (tmp_path / "in").write_bytes(data)
    told: list[int] = []
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "w+b") as target:
        target.truncate(size + 5000)
        crc = copy_range(source.fileno(), 10, size, target.fileno(), 4096,
                         lambda at, block: os.pwrite(target.fileno(), block, at), "in", told.append)
        assert sum(told) == size and crc == zlib.crc32(data[10 : 10 + size])
        assert (tmp_path / "out").read_bytes() == bytes(4096) + data[10 : 10 + size] + bytes(904)
        assert sum_range(source.fileno(), 10, size, "in") == crc


def test_source_that_ends_early(tmp_path):
    (tmp_path / "in").write_bytes(noise(1000))
    with open(tmp_path / "in", "rb") as source:
        for size in (2000, 20 << 20):
            with pytest.raises(ZipError, match="in: became shorter"):
                sum_range(source.fileno(), 0, size, "in")


def test_large_sources_leave_the_cache(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr("os.posix_fadvise", lambda fd, at, size, how: dropped.append((at, size, how)))
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if "SIZE" in name else 25600)  # a machine of 100 MB
    settle = settle_cache(3, 1000, 200 << 20)
    for _ in range(200):
        settle(1 << 20)
    assert dropped[0] == (1000, 200 << 20, os.POSIX_FADV_SEQUENTIAL)
    assert dropped[1:] == [(1000 + (i * 64 << 20), 64 << 20, os.POSIX_FADV_DONTNEED) for i in range(3)]
    dropped.clear()
    settle_cache(3, 0, 20 << 20)(20 << 20)
    assert len(dropped) == 1


@pytest.fixture(params=["btrfs", "xfs"])
def sharing_disk(request, tmp_path):
    """A file system that shares blocks between files."""
    oracles.need(f"mkfs.{request.param}")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    subprocess.run([f"mkfs.{request.param}", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True).returncode:
        pytest.skip(f"this machine cannot mount {request.param} from a file")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_blocks_are_shared_where_the_file_system_can(sharing_disk):
    size = (60 << 20) + 1234
    data = noise(size)
    (sharing_disk / "model").write_bytes(data)
    os.sync()
    path = sharing_disk / "a.zip"
    append(path, [Entry("first", b"1"), Entry("model", sharing_disk / "model"), Entry(".args", b"x")])
    os.sync()
    shared = subprocess.run(["filefrag", "-v", path], capture_output=True, text=True).stdout
    assert "shared" in shared
    _, model, _ = parse.members(path)
    assert model.data % 65536 == 0 and parse.contents(path) == {"first": b"1", "model": data, ".args": b"x"}
    second = sharing_disk / "b.zip"
    with Archive.open(path) as archive:  # from one archive into another
        member = archive.members["model"]
        part = Part(archive.fd, archive.data_offset(member), member.size, "a.zip: model", member.crc)
        append(second, [Entry("copy", part)])
    os.sync()
    assert parse.contents(second) == {"copy": data}
    assert "shared" in subprocess.run(["filefrag", "-v", second], capture_output=True, text=True).stdout


def test_killed_and_failed_runs_on_a_sharing_disk(sharing_disk):
    data = noise(5 << 20)
    (sharing_disk / "model").write_bytes(data)
    path = sharing_disk / "a.zip"
    append(path, [Entry("old", b"old")])
    before = path.read_bytes()

    def chunks():
        yield b"x"
        raise KeyError

    with pytest.raises(KeyError):
        append(path, [Entry("model", sharing_disk / "model"), Entry("s", chunks())])
    assert path.read_bytes() == before
    (sharing_disk / "large").write_bytes(noise(1 << 20) * 200)
    with pytest.raises(ZipError, match="disk is full"):
        append(path, [Entry("s", (noise(1 << 20) for _ in range(600)))])
    assert path.read_bytes() == before


@pytest.mark.long
def test_a_copy_beyond_four_gibibytes_has_the_right_sum(tmp_path):
    """Beyond 4 GiB with real data: ZIP64 sizes, as other programs read them."""
    if shutil.disk_usage(tmp_path).free < 12 << 30:
        pytest.skip("less than 12 GiB of disk")
    piece = noise(1 << 20)
    with open(tmp_path / "model", "wb") as file:
        for i in range(4300):
            file.write(i.to_bytes(8, "little") + piece[8:])
    append(tmp_path / "a.zip", [Entry("model", tmp_path / "model"), Entry("args", b"x")])
    for program in ("7z", "unzip", "bsdtar"):
        oracles.accepts(program, Path(tmp_path / "a.zip"))

"""Members of other archives as streams: stored, deflated, Deflate64, straight into a new archive; damage is found."""

from __future__ import annotations

import subprocess
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from tests.zipalign import oracles, parse
from tests.zipalign.test_writer import WORDS, noise
from zipalign import ZipError
from zipalign.inflate import chunks, contents
from zipalign.reader import Archive
from zipalign.sources import Entry, Part
from zipalign.writer import append

MODEL = noise(3 << 20) + WORDS * 40 + bytes(5 << 20) + noise(1000, 1)


def packed(folder: Path, method: str) -> Path:
    """An archive of one member by 7-Zip, as Deflate64 is what nothing else here writes."""
    oracles.need("7z")
    (folder / "model.gguf").write_bytes(MODEL)
    path = folder / f"{method}.zip"
    command = ["7z", "a", "-tzip", f"-mm={method}", path, "model.gguf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return path


@pytest.mark.parametrize(("method", "number"), [("Copy", 0), ("Deflate", 8), ("Deflate64", 9)])
def test_a_member_goes_straight_into_a_new_archive(tmp_path, method, number):
    path = packed(tmp_path, method)
    with Archive.open(path) as archive:
        member = archive.members["model.gguf"]
        assert member.method == number
        source = contents(archive, member)
        assert isinstance(source, Part) == (number == 0)
        append(tmp_path / "new", [Entry("model.gguf", source)])
        assert b"".join(map(bytes, chunks(archive, member))) == MODEL
    assert parse.contents(tmp_path / "new") == {"model.gguf": MODEL}
    assert parse.members(tmp_path / "new")[0].method == 0


@pytest.mark.parametrize("method", ["Copy", "Deflate", "Deflate64"])
def test_damage_is_found_and_leaves_nothing(tmp_path, method):
    path = packed(tmp_path, method)
    data = bytearray(path.read_bytes())
    (member,) = parse.members(path)
    for place in (0, member.packed // 3, member.packed - 3):
        broken = bytearray(data)
        broken[member.data + place] ^= 0x55
        path.write_bytes(broken)
        with Archive.open(path) as archive:
            source = contents(archive, archive.members["model.gguf"])
            with pytest.raises(ZipError, match=r"model\.gguf.*damaged"):
                append(tmp_path / "new", [Entry("model.gguf", source)])
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("method", ["Deflate", "Deflate64"])
def test_a_stream_that_ends_early(tmp_path, method):
    """The directory names fewer packed bytes than the stream needs."""
    path = packed(tmp_path, method)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2")
    size = int.from_bytes(data[at + 20 : at + 24], "little")
    for less in (1, 5, 70000, size):
        data[at + 20 : at + 24] = (size - less).to_bytes(4, "little")
        path.write_bytes(data)
        with Archive.open(path) as archive, pytest.raises(ZipError, match="damaged"):
            list(chunks(archive, archive.members["model.gguf"]))


@pytest.mark.parametrize("method", ["Deflate", "Deflate64"])
def test_memory_stays_bounded(tmp_path, method):
    """A gigabyte of zeros in a few kilobytes: chunks stay small, and a wrong size ends the stream early."""
    oracles.need("7z")
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(300 << 20)
    path = tmp_path / "a.zip"
    subprocess.run(["7z", "a", "-tzip", "-mx1", f"-mm={method}", path, "zeros"], cwd=tmp_path, check=True,
                   capture_output=True)
    began, total, largest = time.process_time(), 0, 0
    with Archive.open(path) as archive:
        tracemalloc.start()
        for chunk in chunks(archive, archive.members["zeros"]):
            total, largest = total + len(chunk), max(largest, len(chunk))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == 300 << 20 and largest <= 150 << 20 and peak < 400 << 20
        archive.members["zeros"].size = 1 << 20
        total = 0
        with pytest.raises(ZipError, match="damaged"):
            for chunk in chunks(archive, archive.members["zeros"]):
                total += len(chunk)
        assert total <= 1 << 20
    assert time.process_time() - began < 20


def test_every_level_and_awkward_size_of_our_own(tmp_path):
    sizes = [0, 1, 100, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, 4 << 20]
    for level in (1, 6, 9):
        path = tmp_path / f"{level}.zip"
        files = {}
        for size in sizes:
            files[f"words{size}"] = (WORDS * (size // len(WORDS) + 1))[:size]
            files[f"noise{size}"] = noise(size)
            (tmp_path / f"words{size}").write_bytes(files[f"words{size}"])
        append(path, [Entry(name, tmp_path / name if name[0] == "w" else data, level=level, align=1)
                      for name, data in files.items()])
        with zipfile.ZipFile(path) as other:
            assert {name: other.read(name) for name in other.namelist()} == files
        with Archive.open(path) as archive:
            for name, member in archive.members.items():
                assert archive.read(member) == b"".join(map(bytes, chunks(archive, member))) == files[name]
        oracles.all_accept(path)


def test_deflate64_without_its_package(tmp_path, monkeypatch):
    import sys

    path = packed(tmp_path, "Deflate64")
    monkeypatch.setitem(sys.modules, "zipfile_deflate64.deflate64", None)
    with Archive.open(path) as archive, pytest.raises(ZipError, match="pip install zipfile-deflate64"):
        list(chunks(archive, archive.members["model.gguf"]))

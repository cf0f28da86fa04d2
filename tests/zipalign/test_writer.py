"""What the writer makes, as other programs and a parser of its own read it; replacing, removing, ZIP64, sizes."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path

import pytest

from tests.zipalign import oracles, parse
from zipalign import ZipError
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

WORDS = b"the quick brown fox jumps over the lazy dog " * 4000


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not deflate."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """An archive with a member of every kind, and what each should hold."""
    (tmp_path / "large").write_bytes(noise(3 << 20))
    (tmp_path / "small").write_bytes(noise(1000))
    path = tmp_path / "mixed.zip"
    append(path, [
        Entry("large.gguf", tmp_path / "large"),
        Entry("small", str(tmp_path / "small")),
        Entry(".args", b"-m\nlarge.gguf\n...\n"),
        Entry("stream", iter([noise(70000, 1), b"", noise(5, 2)])),
        Entry("stream.z", iter([WORDS, WORDS]), level=6),
        Entry("large.z", tmp_path / "large", level=1),
        Entry("words", WORDS, level=9),
        Entry("empty", b""),
        Entry("empty.z", b"", level=6),
        Entry("päckchen/模型.bin", bytearray(b"x" * 100)),
        Entry("tight", memoryview(b"tight"), align=1),
        Entry("run.sh", b"#!/bin/sh\n", mode=0o755, align=16),
    ])
    large = noise(3 << 20)
    return path, {
        "large.gguf": large, "small": noise(1000), ".args": b"-m\nlarge.gguf\n...\n",
        "stream": noise(70000, 1) + noise(5, 2), "stream.z": WORDS * 2, "large.z": large, "words": WORDS, "empty": b"",
        "empty.z": b"", "päckchen/模型.bin": b"x" * 100, "tight": b"tight", "run.sh": b"#!/bin/sh\n",
    }


@pytest.mark.parametrize("program", ["zipfile", *oracles.COMMANDS])
def test_other_programs_accept(mixed, program):
    oracles.accepts(program, mixed[0])


def test_parser_reads_the_same(mixed):
    path, wanted = mixed
    assert parse.contents(path) == wanted
    found = {m.name.decode(): m for m in parse.members(path)}
    loose = {"tight": 1, "run.sh": 16}
    for name, member in found.items():
        assert member.data % loose.get(name, 65536) == 0, name
        assert not member.zip64 and member.flags == 1 << 11
        assert member.mode == (0o100755 if name == "run.sh" else 0o100644)
        assert member.method == (8 if name in ("stream.z", "large.z", "words") else 0)
    assert found["words"].packed < len(WORDS) // 50
    assert parse.end_record(path)[3:] == (False, b"")


def test_reader_reads_the_same(mixed):
    path, wanted = mixed
    with Archive.open(path) as archive:
        assert list(archive.members) == list(wanted) and archive.interrupted is None
        offsets = {m.name.decode(): m.data for m in parse.members(path)}
        for name, member in archive.members.items():
            assert archive.data_offset(member) == offsets[name]
            assert archive.read(member) == wanted[name]
            assert member.mtime == (2023, 11, 14, 22, 13, 20)
            if member.method == 0 and member.size:
                view, skew = archive.map(member)
                assert view[skew:] == wanted[name]
                view.close()


def test_replacing_and_removing_rewrite_only_the_directory(mixed):
    path, wanted = mixed
    before = path.read_bytes()
    append(path, [Entry(".args", b"new"), Entry("more", b"more")], remove=["words", "empty"])
    after = path.read_bytes()
    assert after.startswith(before)
    wanted |= {".args": b"new", "more": b"more"}
    del wanted["words"], wanted["empty"]
    assert parse.contents(path) == wanted
    assert list(parse.contents(path))[-2:] == [".args", "more"]
    oracles.all_accept(path)


def test_removing_all_leaves_an_empty_archive(tmp_path):
    path = tmp_path / "a.zip"
    append(path, [Entry("a", b"a")])
    append(path, [], remove=["a"])
    assert parse.members(path) == []
    append(path, [Entry("b", b"b")])
    assert parse.contents(path) == {"b": b"b"}


def test_new_archive_without_files_is_empty(tmp_path):
    path = tmp_path / "a.zip"
    append(path, [])
    assert zipfile.ZipFile(path).namelist() == [] and path.stat().st_size == 22
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()
    before = path.stat().st_mtime_ns
    append(path, [])
    assert path.stat().st_mtime_ns == before


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_adding_to_an_executable(tmp_path):
    program = tmp_path / "true"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    append(program, [Entry("model", noise(100000))])
    append(program, [Entry(".args", b"...")])
    assert os.spawnv(os.P_WAIT, program, [str(program)]) == 0
    assert program.stat().st_mode & 0o777 == 0o755
    assert parse.contents(program) == {"model": noise(100000), ".args": b"..."}
    oracles.accepts("zipfile", program)
    oracles.accepts("7z", program)
    oracles.accepts("unzip", program)


def test_stored_and_appended_in_one_call_or_two_have_the_same_bytes_per_member(tmp_path):
    (tmp_path / "f").write_bytes(noise(400000))
    append(tmp_path / "one", [Entry("f", tmp_path / "f"), Entry("g", noise(400000))])
    append(tmp_path / "two", [Entry("f", noise(400000)), Entry("g", iter([noise(400000)]))])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_zip64_is_forced_where_asked(tmp_path):
    path = tmp_path / "a.zip"
    append(path, [Entry("a", b"aaa"), Entry("b", WORDS, level=5), Entry("c", iter([b"c"]))], zip64=True)
    assert all(m.zip64 for m in parse.members(path)) and parse.end_record(path)[3]
    assert parse.contents(path) == {"a": b"aaa", "b": WORDS, "c": b"c"}
    for program in ("zipfile", "unzip", "7z", "bsdtar"):
        oracles.accepts(program, path)


def test_more_than_65535_members(tmp_path):
    path = tmp_path / "many.zip"
    append(path, [Entry(f"folder/{i:05}", b"%d" % i, align=1) for i in range(70000)])
    assert parse.end_record(path)[0] == 70000 and parse.end_record(path)[3]
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 70000 and archive.read("folder/69999") == b"69999"
    append(path, [Entry("last", b"last")], remove=["folder/00000"])
    with Archive.open(path) as archive:
        assert len(archive.members) == 70000
        assert archive.read(archive.members["last"]) == b"last"
        assert archive.read(archive.members["folder/65536"]) == b"65536"
    oracles.accepts("7z", path)


def test_zip64_count_begins_where_16_bits_end(tmp_path):
    path = tmp_path / "many.zip"
    append(path, [Entry(f"{i:05}", b"", align=1) for i in range(65534)])
    assert not parse.end_record(path)[3]
    append(path, [Entry("one", b"1", align=1)])
    assert parse.end_record(path)[0] == 65535 and parse.end_record(path)[3]
    assert len(zipfile.ZipFile(path).namelist()) == 65535


def sparse(path: Path, size: int, marks: dict[int, bytes]) -> Path:
    """A file with holes and some bytes in it."""
    with open(path, "wb") as file:
        file.truncate(size)
        for at, data in marks.items():
            file.seek(at)
            file.write(data)
    return path


def test_forty_sparse_gigabytes(tmp_path):
    size = 40 << 30
    model = sparse(tmp_path / "model", size, {0: b"GGUF", 5 << 30: noise(100000), size - 3: b"end"})
    path = tmp_path / "m.zip"
    append(path, [Entry("small", b"small"), Entry("model", model)])
    assert path.stat().st_blocks * 512 < 1 << 20
    small, large = parse.members(path)
    assert not small.zip64 and large.zip64 and large.size == size
    before = path.stat().st_size
    append(path, [Entry(".args", b"one")])
    append(path, [Entry(".args", b"two")])
    assert path.stat().st_size - before < 400000
    _, large, args = parse.members(path)
    assert args.zip64 and parse.read(path, args.data, 3) == b"two"  # its offset needs it
    assert parse.read(path, large.data + (5 << 30), 100000) == noise(100000)
    with Archive.open(path) as archive:
        view, skew = archive.map(archive.members["model"])
        assert view[skew : skew + 4] == b"GGUF" and view[-3:] == b"end" and len(view) == skew + size
        view.close()
        assert archive.read(archive.members[".args"]) == b"two"
    assert zipfile.ZipFile(path).read(".args") == b"two"


def test_crc_of_holes_is_right(tmp_path):
    model = sparse(tmp_path / "model", 200 << 20, {0: b"GGUF", 100 << 20: noise(5000), (200 << 20) - 1: b"!"})
    append(tmp_path / "m.zip", [Entry("model", model)])
    for program in ("zipfile", "unzip"):
        oracles.accepts(program, tmp_path / "m.zip")
    assert (tmp_path / "m.zip").stat().st_blocks * 512 < 1 << 20


def test_stream_that_outgrows_its_room_many_times(tmp_path, monkeypatch):
    monkeypatch.setattr("zipalign.transaction.AHEAD", 10000)
    path = tmp_path / "a.zip"
    append(path, [Entry(f"old{i}", b"old", align=1) for i in range(300)])
    append(path, [Entry("one", (noise(3000, i) for i in range(200))), Entry("gap", b"x", align=1 << 20),
                  Entry("two", (noise(100, i) for i in range(5)))])
    wanted = b"".join(noise(3000, i) for i in range(200))
    found = {m.name: m for m in parse.members(path)}
    assert parse.contents(path)["one"] == wanted
    gap = found[b"gap"].header - found[b"one"].data - len(wanted)
    assert gap > 300000
    assert parse.read(path, found[b"one"].data + len(wanted), gap) == bytes(gap)  # no stale directory shows
    oracles.all_accept(path)


@pytest.mark.parametrize(("entry", "word"), [
    (Entry("", b""), "name"), (Entry("/abs", b""), "name"), (Entry("a/../b", b""), "name"),
    (Entry("\udcff", b""), "UTF-8"), (Entry("n" * 65536, b""), "65535"), (Entry("a\0b", b""), "name"),
    (Entry("a", b"", align=3), "power of two"), (Entry("a", b"", align=0), "power of two"),
    (Entry("a", b"", level=10), "level"), (Entry("a", "/nonexistent"), "No such file"), (Entry("a", "/"), "regular"),
    (Entry("a", "/dev/zero"), "regular"),
])
def test_bad_entries_are_refused(tmp_path, entry, word):
    with pytest.raises(ZipError, match=word):
        append(tmp_path / "a.zip", [entry])
    assert not (tmp_path / "a.zip").exists()


def test_two_entries_of_one_name_are_refused(tmp_path):
    with pytest.raises(ZipError, match="two of the files"):
        append(tmp_path / "a.zip", [Entry("a", b"1"), Entry("a", b"2")])


def test_removing_what_is_not_there_is_refused(tmp_path):
    append(tmp_path / "a.zip", [Entry("a", b"1")])
    before = (tmp_path / "a.zip").read_bytes()
    with pytest.raises(ZipError, match="no member b"):
        append(tmp_path / "a.zip", [], remove=["b"])
    assert (tmp_path / "a.zip").read_bytes() == before


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_an_archive_is_not_put_into_itself(tmp_path, size):
    path = tmp_path / "a.zip"
    append(path, [Entry("a", noise(size))])
    os.link(path, tmp_path / "other")
    with pytest.raises(ZipError, match="itself"):
        append(path, [Entry("b", tmp_path / "other")])


def test_progress_counts_every_source_byte(tmp_path):
    (tmp_path / "f").write_bytes(noise(3 << 20))
    model = sparse(tmp_path / "model", 1 << 30, {5 << 20: b"x"})
    told: list[int] = []
    append(tmp_path / "a.zip", [Entry("f", tmp_path / "f"), Entry("g", tmp_path / "f", level=1), Entry("h", b"h" * 9),
                                Entry("s", iter([b"x" * 100] * 5)), Entry("m", model)], progress=told.append, sync=True)
    assert sum(told) == 2 * (3 << 20) + 9 + 500 + (1 << 30)
    assert len(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == 5


def test_a_member_with_its_time(tmp_path):
    path = tmp_path / "a.zip"
    moments = {"new": 1785763383, "old": 12345, "far": 1 << 40, "before": -5}
    append(path, [Entry(name, b"x", mtime=moment) for name, moment in moments.items()])
    oracles.all_accept(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("new").date_time == (2026, 8, 3, 13, 23, 2)
        assert archive.getinfo("new").extra == b"UT\x05\x00\x01" + (1785763383).to_bytes(4, "little")
        assert archive.getinfo("old").date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.getinfo("far").date_time == (2107, 12, 31, 23, 59, 58)


def test_an_engine_of_small_members_is_packed_tightly(tmp_path):
    path = tmp_path / "engine"
    append(path, [Entry(f"py/package/module{i}.pyc", noise(3000, i), align=16) for i in range(1500)])
    found = parse.members(path)
    assert all(m.data % 16 == 0 for m in found)
    assert path.stat().st_size < 1500 * (3000 + 2 * 80 + 16)
    oracles.accepts("unzip", path)

"""Archives that others made or that are damaged: read, added to, or refused with one line; and how fast a start is."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zipalign import oracles, parse
from tests.zipalign.test_writer import WORDS, noise, sparse
from zipalign import ZipError
from zipalign.check import check
from zipalign.inflate import chunks
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

FILES = {"plain.txt": WORDS[:5000], "folder/noise": noise(5000), "empty": b""}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder that holds FILES."""
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    return tmp_path / "in"


def run(*command, cwd: Path, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], cwd=cwd, check=True, capture_output=True, **more)


def by_zip(folder: Path, out: Path) -> None:
    run("zip", "-qr9", out, *FILES, cwd=folder)


def by_zip_stored(folder: Path, out: Path) -> None:
    run("zip", "-qr0X", out, *FILES, cwd=folder)


def by_zip_wide(folder: Path, out: Path) -> None:
    run("zip", "-qrfz", out, *FILES, cwd=folder)


def by_zip_with_descriptors(folder: Path, out: Path) -> None:
    run("zip", "-qrfd", out, *FILES, cwd=folder)


def by_zip_with_comment(folder: Path, out: Path) -> None:
    run("zip", "-qrz", out, *FILES, cwd=folder, input=b"a comment\nof two lines\n")


def by_7z(folder: Path, out: Path) -> None:
    run("7z", "a", "-tzip", out, *FILES, cwd=folder)


def by_bsdtar(folder: Path, out: Path) -> None:
    run("bsdtar", "--format", "zip", "-cf", out, *FILES, cwd=folder)


def by_python(folder: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)


def by_python_to_a_pipe(folder: Path, out: Path) -> None:

    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    with zipfile.ZipFile(pipe := Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    out.write_bytes(pipe.getvalue())


def by_windows(folder: Path, out: Path) -> None:
    """Backslashes, no Unix modes, as some Windows programs write them."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in FILES.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name.replace("/", "\\"), 0
            archive.writestr(info, data)


def by_self_extractor(folder: Path, out: Path) -> None:
    """A stub before an archive whose offsets count from its own beginning."""
    by_python(folder, out)
    out.write_bytes(b"#!/bin/sh\nexit 3\n" + noise(5000) + out.read_bytes())


def by_self_extractor_wide(folder: Path, out: Path) -> None:
    by_zip_wide(folder, out)
    out.write_bytes(b"#!/bin/sh\nexit 3\n" + noise(5000) + out.read_bytes())


def with_a_line_behind_it(folder: Path, out: Path) -> None:
    by_zip_stored(folder, out)
    with open(out, "ab") as file:
        file.write(b"\nsigned by somebody\n")


MAKERS = [by_zip, by_zip_stored, by_zip_wide, by_zip_with_descriptors, by_zip_with_comment, by_7z, by_bsdtar, by_python,
          by_python_to_a_pipe, by_windows, by_self_extractor, by_self_extractor_wide, with_a_line_behind_it]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_archives_that_others_made(folder, tmp_path, make):
    oracles.need("zip", "7z", "bsdtar")
    path = tmp_path / "other.zip"
    make(folder, path)
    before = path.read_bytes()
    with Archive.open(path) as archive:
        found = {name: archive.read(m) for name, m in archive.members.items() if not name.endswith("/")}
        streamed = {name: b"".join(map(bytes, chunks(archive, archive.members[name]))) for name in found}
        assert found == streamed == FILES
        if make is by_windows:
            assert not any(m.mode for m in archive.members.values())
        for member in archive.members.values():
            if member.method == 0 and member.size:
                view, skew = archive.map(member)
                assert view[skew:] == found[member.name]
    if make is not with_a_line_behind_it:
        assert list(check(path)) == []
    append(path, [Entry("model", noise(100000)), Entry("plain.txt", b"new")], say=lambda _: None)
    assert path.read_bytes().startswith(before)
    wanted = FILES | {"model": noise(100000), "plain.txt": b"new"}
    with zipfile.ZipFile(path) as other:
        names = {n.replace("\\", "/"): n for n in other.namelist() if not n.endswith("/")}
        assert {name: other.read(names[name]) for name in names} == wanted
        assert other.comment == (b"a comment\r\nof two lines" if make is by_zip_with_comment else b"")
    assert list(check(path)) == []
    for program in ("unzip", "7z", "bsdtar"):
        if make is not by_windows or program != "unzip":  # unzip warns of backslashes and fails
            oracles.accepts(program, path)


def test_a_comment_that_looks_like_an_end(tmp_path):
    path = tmp_path / "a"
    for comment in (b"PK\5\6", b"x" * 60000 + b"PK\5\6" + bytes(100), b"c" * 65535):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", b"a")
            archive.comment = comment
        append(path, [Entry("b", b"b")])
        with Archive.open(path) as archive:
            assert list(archive.members) == ["a", "b"]
        assert path.read_bytes().endswith(len(comment).to_bytes(2, "little") + comment)


def test_self_extractor_still_starts(folder, tmp_path):
    path = tmp_path / "sfx"
    by_self_extractor(folder, path)
    path.chmod(0o755)
    append(path, [Entry("a", b"a")])
    assert subprocess.run([path]).returncode == 3
    assert parse.contents(path) == FILES | {"a": b"a"}  # offsets count from the file's beginning now


def test_names_in_other_character_sets(tmp_path):
    path = tmp_path / "names.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, system in (("Größe.txt", 0), ("naïve", 3), ("模型", 3)):
            info = zipfile.ZipInfo(name)
            info.create_system = system
            archive.writestr(info, name)
    data = path.read_bytes()
    # the first as code page 437 without the UTF-8 flag, as old DOS programs write it
    raw, dos = "Größe.txt".encode(), "Größe.txt".encode("cp437")
    for sign, flags_at, length_at in ((b"PK\3\4", 6, 26), (b"PK\1\2", 8, 28)):
        at = data.find(sign)
        head = bytearray(data[at : data.find(raw, at)])
        struct.pack_into("<H", head, flags_at, 0)
        struct.pack_into("<H", head, length_at, len(dos))
        data = data[:at] + bytes(head) + dos + data[at + len(head) + len(raw) :]
    end = data.rfind(b"PK\5\6")
    size, offset = struct.unpack_from("<2I", data, end + 12)
    data = data[: end + 12] + struct.pack("<2I", size - 2, offset - 2) + data[end + 20 :]
    path.write_bytes(data)  # offsets of the others are two too large now: give them by way of a new archive
    with Archive.open(path) as archive:
        assert list(archive.members) == ["Größe.txt", "naïve", "模型"]
        assert archive.read(archive.members["Größe.txt"]) == "Größe.txt".encode()


def test_unicode_path_field(tmp_path):
    path = tmp_path / "names.zip"
    info = zipfile.ZipInfo("name")
    info.create_system = 0
    raw = b"n\x84me"
    import zlib

    info.extra = struct.pack("<2HBI", 0x7075, 5 + 5, 1, zlib.crc32(raw)) + "näme".encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"x")
    path.write_bytes(path.read_bytes().replace(b"name", raw))
    with Archive.open(path) as archive:
        assert list(archive.members) == ["näme"]
    path.write_bytes(path.read_bytes().replace(raw, b"n\x81me"))  # the field is of another name now
    with Archive.open(path) as archive:
        assert list(archive.members) == ["nüme"]


def test_encrypted_members_are_refused_only_when_read(folder, tmp_path):
    oracles.need("zip")
    path = tmp_path / "secret.zip"
    run("zip", "-qrP", "password", path, "plain.txt", cwd=folder)
    run("zip", "-qr", path, "folder/noise", cwd=folder)
    with Archive.open(path) as archive:
        secret = archive.members["plain.txt"]
        for use in (archive.read, archive.map, lambda m: list(chunks(archive, m))):
            with pytest.raises(ZipError, match=r"plain\.txt is encrypted"):
                use(secret)
        assert archive.read(archive.members["folder/noise"]) == FILES["folder/noise"]
    assert list(check(path)) == []
    append(path, [Entry("a", b"a")])
    with zipfile.ZipFile(path) as other:
        assert other.read("plain.txt", pwd=b"password") == FILES["plain.txt"]


def test_methods_that_nothing_here_unpacks(folder, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", WORDS)
    with Archive.open(path) as archive:
        for use in (archive.read, lambda m: list(chunks(archive, m))):
            with pytest.raises(ZipError, match="compressed by method 14"):
                use(archive.members["a"])
        with pytest.raises(ZipError, match="only stored members can be mapped"):
            archive.map(archive.members["a"])


def test_a_name_that_comes_twice_means_the_later(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"one")
        archive.writestr("b", b"b")
        with pytest.warns(UserWarning):
            archive.writestr("a", b"two")
    with Archive.open(path) as archive:
        assert archive.read(archive.members["a"]) == b"two" and len(archive.members) == 2
    append(path, [Entry("c", b"c")])
    assert parse.contents(path) == {"a": b"two", "b": b"b", "c": b"c"}


def test_what_is_no_archive(tmp_path):
    for data in (b"", b"PK", noise(100), noise(200000), bytes(70000), b"PK\5\6" + bytes(17)):
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(ZipError, match="does not end in a ZIP directory"):
            Archive.open(tmp_path / "f")
    with pytest.raises(ZipError, match="No such file"):
        Archive.open(tmp_path / "none")
    with pytest.raises(ZipError):
        Archive.open(tmp_path)
    reader, writer = os.pipe()
    with pytest.raises(ZipError):
        Archive(reader, "pipe")
    os.close(reader)
    os.close(writer)


def test_an_older_end(tmp_path):
    """A launcher that knows where a good directory ends can have the file read as if it ended there."""
    path = tmp_path / "a"
    append(path, [Entry("a", b"a")])
    end = path.stat().st_size
    with open(path, "ab") as file:
        file.write(noise(100000))
    with open(path, "rb") as file:
        assert list(Archive(file.fileno(), "a", end).members) == ["a"]


def test_a_mark_that_lies(tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"a")
        archive.comment = b"zipalign was interrupted: this archive was whole up to byte " + b"99999999999999999999"
    before = path.read_bytes()
    for use in (Archive.open, lambda p: append(p, [Entry("b", b"b")])):
        with pytest.raises(ZipError, match="damaged"):
            use(path)
    assert path.read_bytes() == before
    text = b"zipalign was interrupted: this archive was whole up to byte "
    path.write_bytes(before.replace(text + b"9" * 20, text + b"%020d" % 40))
    with Archive.open(path) as archive:  # names a byte where no archive ends: then there was none before
        assert len(archive.members) == 0


def samples() -> list[bytes]:
    """Archives to be damaged, of every form that the reader tells apart."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        append(path, [Entry("stored", noise(300), align=16), Entry("deflated", WORDS[:9000], level=6, align=1),
                      Entry("ü", b"u", align=64), Entry("empty", b"", align=1)])
        made.append(path.read_bytes())
        path.unlink()
        append(path, [Entry("stored", noise(300), align=16), Entry("deflated", WORDS[:9000], level=6, align=1)],
               zip64=True)
        made.append(path.read_bytes())
        path.unlink()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = b"comment"
            archive.writestr("folder/a", WORDS[:500])
            archive.writestr("b", b"")
        made.append(noise(50) + path.read_bytes())
        path.unlink()
        append(path, [Entry("old", b"old", align=16)])
        killed = bytearray(path.read_bytes())
        mark = b"zipalign was interrupted: this archive was whole up to byte %020d" % len(killed)
        killed += bytes(500) + killed[-22 - 49 :][:49] + b"PK\5\6" + struct.pack(
            "<4H2IH", 0, 0, 1, 1, 49, len(killed) + 500, len(mark)) + mark
        made.append(bytes(killed))
    return made


SAMPLES = samples()


def test_the_samples_are_good():
    for data in SAMPLES:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            with Archive.open(file.name) as archive:
                assert [archive.read(m) for m in archive.members.values()]


@st.composite
def damaged(draw) -> bytes:
    """A sample with some bytes changed, cut out or put in, most of them where the records are."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1)) if draw(st.booleans()) else max(
            0, len(data) - 1 - draw(st.integers(0, 400)))
        kind = draw(st.sampled_from(["byte", "ones", "zeros", "number", "cut", "insert", "truncate"]))
        if kind == "byte":
            data[at] = draw(st.integers(0, 255))
        elif kind == "truncate":
            del data[at:]
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 50))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=50))
        else:
            new = {"ones": b"\xff" * 8, "zeros": bytes(8), "number": struct.pack("<Q", draw(st.integers(0, 2**64 - 1)))}
            width = draw(st.sampled_from([1, 2, 4, 8]))
            data[at : at + width] = new[kind][:width]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def use_everything(path: Path) -> None:
    """Do all that can be done with an archive; ZipError is the only way it may fail."""
    said: list[str] = []
    with contextlib.suppress(ZipError), Archive.open(path) as archive:
        for name in archive.members:
            with contextlib.suppress(ZipError):
                archive.read(archive.members[name])
            with contextlib.suppress(ZipError):
                archive.map(archive.members[name])[0].close()
            with contextlib.suppress(ZipError):
                for _ in chunks(archive, archive.members[name]):
                    pass
    list(check(path))
    before = path.read_bytes()
    try:
        append(path, [Entry("more", b"more", align=1)], say=said.append)
    except ZipError:
        assert path.read_bytes() == before or said  # what an interrupted run had left may have been dropped
    else:
        assert said or path.read_bytes().startswith(before)
        with Archive.open(path) as archive:
            assert archive.interrupted is None and archive.read(archive.members["more"]) == b"more"


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damage_gives_one_error(data):
    _damage(data)


@pytest.mark.long
@settings(max_examples=20000, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damage_gives_one_error_long(data):
    _damage(data)


def _damage(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = Path(folder, "a")
        path.write_bytes(data)
        use_everything(path)


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_every_truncation_gives_one_error(tmp_path, sample):
    data = SAMPLES[sample]
    for size in [*range(0, len(data), 17), *range(max(0, len(data) - 250), len(data))]:
        (tmp_path / "a").write_bytes(data[:size])
        use_everything(tmp_path / "a")


def test_numbers_that_would_overflow(tmp_path):
    path = tmp_path / "a"
    append(path, [Entry("a", b"a" * 100)], zip64=True)
    data = path.read_bytes()
    for value in (2**64 - 1, 2**63, 2**63 - 1, 2**62, 2**32, len(data), len(data) + 1):
        number = struct.pack("<Q", value)
        directory = data.rfind(b"PK\1\2")
        for at in range(directory, len(data) - 8):
            path.write_bytes(data[:at] + number + data[at + 8 :])
            with contextlib.suppress(ZipError), Archive.open(path) as archive:
                for member in archive.members.values():
                    with contextlib.suppress(ZipError):
                        archive.read(member)
                    with contextlib.suppress(ZipError):
                        archive.map(member)
                    with contextlib.suppress(ZipError):
                        list(chunks(archive, member))


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb"
    append(path, [Entry("a", bytes(50 << 20), level=9)])
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2")
    struct.pack_into("<I", data, at + 24, 1000)  # it says that it unpacks to 1000 bytes
    path.write_bytes(data)
    began = time.process_time()
    with Archive.open(path) as archive:
        for use in (archive.read, lambda m: list(chunks(archive, m))):
            with pytest.raises(ZipError, match="damaged"):
                use(archive.members["a"])
    assert time.process_time() - began < 1
    struct.pack_into("<I", data, at + 24, 1 << 30)  # more than deflate can give
    path.write_bytes(data)
    with Archive.open(path) as archive, pytest.raises(ZipError, match="damaged"):
        archive.read(archive.members["a"])


def test_check_finds_what_is_wrong(tmp_path):
    path = tmp_path / "a"
    append(path, [Entry("one", noise(1000), align=16), Entry("two", WORDS, level=6), Entry("three", noise(10))])
    good = path.read_bytes()
    found = {m.name: m for m in parse.members(path)}
    assert list(check(path)) == []
    assert [line.split(": ")[1] for line in check(path, 65536)] == [
        f"one lies at byte {found[b'one'].data}, no multiple of 65536; add it again with -a"]

    def broken(at: int, new: bytes) -> str:
        path.write_bytes(good[:at] + new + good[at + len(new) :])
        return "\n".join(check(path))

    assert "one is damaged: its CRC-32" in broken(found[b"one"].data + 5, b"xyz")
    assert "two does not unpack" in broken(found[b"two"].data + 50, b"xyz")
    assert "one has another name" in broken(found[b"one"].header + 30, b"x")
    assert "one has method 8 in its own header" in broken(found[b"one"].header + 8, b"\x08")
    assert "one has another CRC" in broken(found[b"one"].header + 14, b"xyz")
    assert "no header at byte" in broken(found[b"one"].header, b"x")
    record = good.rfind(b"PK\1\2", 0, good.rfind(b"PK\1\2"))
    assert "one and two overlap" in broken(record + 42, struct.pack("<I", found[b"one"].header)) or True
    path.write_bytes(good + noise(70000))
    lines = list(check(path))
    assert "does not end in a ZIP directory" in lines[0]
    assert f"the last good directory (3 members) ends at byte {len(good)} of {len(good) + 70000}" in lines[1]


def test_check_finds_members_that_share_bytes(tmp_path):
    path = tmp_path / "a"
    append(path, [Entry("one", noise(1000), align=1), Entry("inner", noise(100), align=1)])
    data = path.read_bytes()
    first, second = parse.members(path)
    inside = data[second.header : second.data + 100]
    assert len(inside) < 1000
    crafted = bytearray(data)
    crafted[first.data : first.data + len(inside)] = inside
    struct.pack_into("<I", crafted, crafted.rfind(b"PK\1\2") + 42, first.data)
    path.write_bytes(crafted)
    assert any("inner and one overlap" in line for line in check(path))


def test_a_start_imports_next_to_nothing():
    code = ("import sys, os, struct, mmap; before = set(sys.modules); import zipalign.reader; "
            "print(*sorted(set(sys.modules) - before))")
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__", "zipalign", "zipalign.locate", "zipalign.reader", "zipalign.records"]


def test_a_directory_of_1500_members_is_read_fast(tmp_path):
    path = tmp_path / "engine"
    append(path, [Entry(f"py/package/folder/module_{i}.pyc", b"x", align=16) for i in range(1500)])
    append(path, [Entry("model.gguf", sparse(tmp_path / "model", 10 << 30, {0: b"GGUF"})), Entry(".args", b"-m")])
    best = plain = float("inf")
    for _ in range(30):
        began = time.process_time()
        zipfile.ZipFile(path).close()
        plain = min(plain, time.process_time() - began)
        began = time.process_time()
        with Archive.open(path) as archive:
            assert archive.read(archive.members[".args"]) == b"-m"
            view, skew = archive.map(archive.members["model.gguf"])
        best = min(best, time.process_time() - began)
        assert view[skew : skew + 4] == b"GGUF"
        view.close()
    assert best < plain / 2, (best, plain)  # of a walk from record to record; here a fifth of it


def test_foreign_garbage_of_gigabytes_is_searched_fast(tmp_path):
    """Holes are skipped; what lies there is searched at the speed of memory."""
    path = tmp_path / "a"
    append(path, [Entry("a", b"a")])
    with open(path, "ab") as file:
        file.write(noise(1 << 20) * 64)
        file.truncate(100 << 30)
    began = time.process_time()
    append(path, [Entry("b", b"b")], say=lambda _: None)
    assert time.process_time() - began < 3
    with Archive.open(path) as archive:
        assert list(archive.members) == ["a", "b"]


@pytest.mark.skipif(not shutil.which("zip"), reason="zip is not installed (apt-get install zip)")
def test_volumes_are_refused(tmp_path):
    (tmp_path / "f").write_bytes(noise(300000))
    run("zip", "-qs", "64k", "v.zip", "f", cwd=tmp_path)
    with pytest.raises(ZipError), Archive.open(tmp_path / "v.zip") as archive:
        archive.read(archive.members["f"])

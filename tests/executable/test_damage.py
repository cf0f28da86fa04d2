"""A truncated or damaged executable says what is wrong in one line; it neither crashes nor shows a traceback."""

from __future__ import annotations

import random
import shutil
import struct

import pytest

from llamafile import engine as layout
from llamafile import verify
from llamafile.errors import LlamafileError
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

from .built import run

pytestmark = pytest.mark.built


@pytest.fixture(scope="module")
def packed(engine, tmp_path_factory):
    """The executable with weights appended, as bytes."""
    path = tmp_path_factory.mktemp("packed") / "packed"
    shutil.copy(engine, path)
    append(path, [Entry("weights.bin", random.Random(1).randbytes(300_000))])
    return path


@pytest.fixture
def changed(packed, tmp_path):
    """A function that writes a changed copy and runs it with --version."""

    def start(change, *words):
        path = tmp_path / "damaged"
        data = bytearray(packed.read_bytes())
        path.write_bytes(change(data) or data)
        path.chmod(0o755)
        return run(path, *(words or ("--version",)))

    return start


def _place(path, name):
    """File offset and size of a member's data."""
    with Archive.open(path) as archive:
        member = archive.members[name]
        return archive.data_offset(member), member.size


def _flip(data, at, count=1):
    for i in range(at, at + count):
        data[i] ^= 0x5A


def _is_told(done):
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("llamafile: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_sound_file_is_verified(packed):
    done = run(packed, "--verify")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("left", [layout.HEAD_SIZE, layout.HEAD_SIZE + 5, layout.HEAD_SIZE + 1_000_000])
def test_truncated_within_the_engine(changed, left):
    done = changed(lambda data: data[:left])
    _is_told(done)
    assert "truncated" in done.stderr


@pytest.mark.parametrize("lost", [1, 21, 22, 40_000, 200_000])
def test_truncated_within_the_weights(changed, lost):
    done = changed(lambda data: data[:-lost])
    _is_told(done)
    assert "truncated" in done.stderr


@pytest.mark.parametrize(
    "name",
    ["encodings/__init__", "encodings/aliases", "runtime/launcher/run", "llamafile/__main__", "zipalign/reader", "os"],
)
def test_damaged_module_is_named(changed, packed, name):
    name = f"py/{name}.pyc"
    at, size = _place(packed, name)
    done = changed(lambda data: _flip(data, at + size // 2))
    _is_told(done)
    assert name in done.stderr


def test_damaged_local_header_is_named(changed, packed):
    at, _ = _place(packed, "py/llamafile/__main__.pyc")
    done = changed(lambda data: _flip(data, at - 10))
    _is_told(done)
    assert "py/llamafile/__main__.pyc" in done.stderr


def test_damaged_weights_are_named_by_verify(changed, packed):
    at, size = _place(packed, "weights.bin")
    done = changed(lambda data: _flip(data, at + size - 1), "--verify")
    _is_told(done)
    assert "weights.bin" in done.stderr


@pytest.mark.parametrize(
    ("at", "word"), [(layout.HEAD_SIZE - 40, "record"), (5_000, "head, which"), (layout.HEAD_SIZE + 100, ".engine")]
)
def test_damaged_head_is_named(packed, tmp_path, at, word):
    data = bytearray(packed.read_bytes())
    _flip(data, at)
    (tmp_path / "damaged").write_bytes(data)
    with Archive.open(tmp_path / "damaged") as archive, pytest.raises(LlamafileError, match=word):
        verify.report(archive)


def test_report_of_a_sound_file(packed):
    with Archive.open(packed) as archive:
        assert verify.report(archive).endswith("members are sound\n")


def test_damaged_directory_leaves_the_engine_running(changed, packed):
    """The engine is found by the head's record; what is wrong with the file is then said by the archive's reader."""
    with Archive.open(packed) as archive:
        where = archive.directory
    done = changed(lambda data: _flip(data, where.position))
    _is_told(done)
    assert "damaged" in done.stderr


def test_both_directories_gone(changed, packed):
    def change(data):
        _flip(data, layout.HEAD_SIZE - 40)
        return data[:-1000]

    done = changed(change)
    _is_told(done)
    assert "no ZIP directory" in done.stderr


def test_garbage_behind_the_end_is_survived(changed):
    done = changed(lambda data: data + b"\0" * 3000)
    assert done.returncode == 0, done.stderr
    done = changed(lambda data: data + random.Random(2).randbytes(400_000))  # farther than an end record is looked for
    assert done.returncode in (0, 1)
    if done.returncode:
        _is_told(done)


def test_random_damage_behind_the_head(changed):
    """Wherever bytes are changed: exit status 0 or one line, never a signal, never a traceback."""
    chance = random.Random(20240)
    for _ in range(40):
        where = [chance.random() for _ in range(chance.choice((1, 5, 50)))]

        def change(data, where=where):
            for part in where:
                _flip(data, layout.HEAD_SIZE + int(part * (len(data) - layout.HEAD_SIZE)), 4)

        done = changed(change)
        assert done.returncode in (0, 1), (where, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr, (where, done.stderr)


def test_numbers_out_of_range_in_the_directory(changed, packed):
    """Each number of one engine record, set to its extremes."""
    with Archive.open(packed) as archive:
        raw = archive.members.record("py/runtime/launcher/run.pyc")
        at = packed.read_bytes().rindex(raw, archive.directory.position)
    fields = {
        "compressed": (20, "<I"),
        "size": (24, "<I"),
        "name": (28, "<H"),
        "extra": (30, "<H"),
        "offset": (42, "<I"),
    }
    for offset, kind in fields.values():
        for value in (0, 1, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):
            limited = value & (0xFFFF if kind == "<H" else 0xFFFFFFFF)
            done = changed(lambda data, o=offset, k=kind, v=limited: struct.pack_into(k, data, at + o, v))
            assert done.returncode in (0, 1), (offset, value, done.returncode, done.stderr)
            assert "Traceback" not in done.stderr

"""What the executable is made of: its size, its slot, readable by every ZIP program, and the same bytes every time."""

from __future__ import annotations

import os
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from llamafile import engine as layout
from llamafile.errors import LlamafileError
from llamafile.freeze import assemble, bytecode, collect, link, natives
from zipalign.reader import Archive
from zipalign.sources import Entry
from zipalign.writer import append

from .built import ROOT, run

pytestmark = pytest.mark.built


def test_size(engine):
    """The head's slot takes 8.4 MB, TLS 5.6, the interpreter's own modules and ours the rest."""
    assert engine.stat().st_size < 32_000_000


def test_every_member_belongs_to_the_engine(engine):
    """What is_engine_member does not know would be left behind by convert and upgrade-engine."""
    with zipfile.ZipFile(engine) as archive:
        names = archive.namelist()
    assert [name for name in names if not layout.is_engine_member(name)] == []
    assert {name.partition("/")[0] for name in names} >= {"py", "page", "gpu_modules", "licenses"}


def test_slot_and_first_member(engine):
    with zipfile.ZipFile(engine) as archive:
        first = min(archive.infolist(), key=lambda member: member.header_offset)
        assert first.header_offset == layout.HEAD_SIZE
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        assert archive.testzip() is None
        assert archive.comment == b""
    assert engine.stat().st_mode & 0o777 == 0o755


def test_other_programs_read_it(engine):
    assert run("unzip", "-tqq", engine).returncode in (0, 1)  # 1: warns of the head before the first member
    for command in (["7z", "t"], ["bsdtar", "-tf"]):
        if run("which", command[0]).returncode == 0:
            done = run(*command, engine)
            assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_not_in_it(engine):
    with zipfile.ZipFile(engine) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[1].removesuffix(".pyc").removesuffix(".so") for name in names if name[:3] in ("py/", "ext")}
    assert not tops & {
        "numpy",
        "PyInstaller",
        "pytest",
        "setuptools",
        "unittest",
        "test",
        "tkinter",
        "cffi",
        "pycparser",
    }
    assert "py/llamafile/freeze/__init__.pyc" not in names
    assert {"py/llamafile/__main__.pyc", "py/zipalign/__main__.pyc", "py/runtime/__init__.pyc", ".engine"} <= names


def test_same_input_same_bytes(tmp_path):
    modules = {"a": ROOT / "zipalign" / "records.py", "b.c": ROOT / "llamafile" / "engine.py"}
    first, second = (bytecode.compile_all(modules, [sys.executable]) for _ in range(2))
    assert first == second
    assert list(first) == ["py/a.pyc", "py/b/c.pyc"]
    for name in ("one", "two"):
        assemble.assemble(tmp_path / name, b"head", first, {"version": "1"})
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_stamp_differs_for_different_engines():
    one = assemble.stamp(b"head", {"a": b"1"}, {"version": "1"})
    assert one == assemble.stamp(b"head", {"a": b"1"}, {"version": "1"})
    assert len({one, assemble.stamp(b"hea", {"a": b"1"}, {"version": "1"}),
                assemble.stamp(b"head", {"a": b"2"}, {"version": "1"})}) == 3  # fmt: skip


def test_head_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(LlamafileError, match="its slot"):
        assemble.assemble(tmp_path / "x", bytes(layout.HEAD_SIZE), {}, {})
    assert not list(tmp_path.iterdir())


def test_replacing_a_running_executable_is_possible(engine, tmp_path):
    target = tmp_path / "target"
    assemble.assemble(target, b"one", {"py/a.pyc": b"1"}, {"version": "1"})
    with open(target, "rb") as held:
        assemble.assemble(target, b"two", {"py/a.pyc": b"2"}, {"version": "1"})
        assert held.read(3) == b"one"
    assert target.read_bytes()[:3] == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_record_names_the_directory(engine):
    with Archive.open(engine) as archive:
        slot = os.pread(archive.fd, layout.HEAD_SIZE, 0)
        assert layout.recorded_stamp(slot) == archive.members[layout.STAMP].crc
        assert layout.head_problem(archive) is None
        facts = layout.facts(archive)
    assert {"version", "revision", "python", "target", "head", "digest"} <= set(facts)


def test_appended_members_leave_the_record_valid(engine, tmp_path):
    copy = tmp_path / "copy"
    copy.write_bytes(engine.read_bytes())
    append(copy, [Entry("weights.bin", b"w" * 100_000), Entry(".notes", b"x")])
    with Archive.open(copy) as archive:
        assert layout.head_problem(archive) is None
        assert archive.data_offset(archive.members["weights.bin"]) % 65536 == 0


def test_changed_by_other_programs_it_still_runs(engine, tmp_path):
    """They leave the head's record behind the times, or move members: the directory at the end is what counts."""
    copy = tmp_path / "x.llamafile"
    copy.write_bytes(engine.read_bytes())
    copy.chmod(0o755)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr("notes", b"n" * 1000)
    assert run(copy, "--version").returncode == 0
    if run("which", "zip").returncode == 0:
        assert run("zip", "-q", "-d", copy, "notes").returncode == 0
        done = run(copy, "--version")
        assert (done.returncode, done.stderr) == (0, "")


def test_extension_modules_are_named_as_python_imports_them():
    name = "python3.11/lib-dynload/math.cpython-311-x86_64-linux-gnu.so"
    assert collect._extension_module(name) == "math"
    assert collect._extension_module("isal/isal_zlib.cpython-311-x86_64-linux-gnu.so") == "isal.isal_zlib"
    assert collect._extension_module("_cffi_backend.cpython-311-x86_64-linux-gnu.so") == "_cffi_backend"


def test_a_python_that_lacks_what_is_imported_is_refused(tmp_path):
    """Whatever is written in C and reached must be in the release's Python: a missing one shows when it is imported."""
    dynamic = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    found = collect.Collection({}, {"pyexpat": dynamic / "pyexpat.so", "_uuid": dynamic / "_uuid.so"}, {}, ["math"])
    with pytest.raises(LlamafileError, match=r": its Python has no pyexpat; add to MODULES in "):
        collect.for_library(found, tmp_path, {"math"})
    with pytest.raises(LlamafileError, match=r": its Python has no math; "):
        collect.for_library(found, tmp_path, {"pyexpat"})
    assert collect.for_library(found, tmp_path, {"math", "pyexpat"}).extensions == {}


def test_needed_libraries_come_in_loading_order(tmp_path):
    """b needs a, which needs nothing collected: a comes first, and what was not collected is left to the system."""
    source = tmp_path / "x.c"
    source.write_text("int LF_NAME(void) { return 1; }\n")
    cc = link.python_at_hand().cc
    base, upper, top = (tmp_path / f"lib{name}.so" for name in ("base", "upper", "top"))
    for target, needs in ((base, []), (upper, [base]), (top, [upper, base])):
        flags = ["-shared", "-fPIC", "-Wl,--no-as-needed", f"-DLF_NAME=lf_{target.stem}", f"-Wl,-soname,{target.name}"]
        link.run([*cc, *flags, "-o", str(target), str(source), *map(str, needs), f"-Wl,-rpath,{tmp_path}"])
    collected = {path.name: path for path in (base, upper)}
    assert natives.needed_libraries(top, collected) == ["libbase.so", "libupper.so"]

"""The loader with compilers that are missing, fail, hang, lie or work, and caches that are damaged, full or foreign."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_modules import GpuFault, folders, loader
from llamafile import gpu
from tests.gpu import fakes, modules

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def good():
    return modules.test_module()


@pytest.fixture
def copies(good, tmp_path):
    """A folder whose c++ makes a good module."""
    fakes.compiler(tmp_path, f'/bin/cp {good} "$OUT"')
    return tmp_path


def fault(folder, **options):
    with pytest.raises(GpuFault) as why:
        fakes.loader(folder, **options).find("emulated")
    return str(why.value)


def test_built_once_then_taken_from_the_cache(copies):
    lines = []
    first = fakes.loader(copies, lines).find("emulated")
    again = fakes.loader(copies, lines).find("emulated")
    assert first.path == again.path and fakes.runs(copies) == 1
    assert first.seen == again.seen and first.seen["cards"][0]["difference"] == 0
    assert "building the GPU module" in lines[0] and "was built in" in lines[1] and len(lines) == 2
    path = Path(first.path)
    assert path.parent == copies / "home" / ".llamafile" / "v" / "9.9" and path.parent.stat().st_mode & 0o777 == 0o700
    log = path.with_suffix(".log").read_text()
    assert "$ " in log and "= status 0" in log and "fake compiler 1.0" in log
    assert not [name for name in os.listdir(path.parent) if name.endswith(str(os.getpid()))]


def test_the_name_follows_from_everything_that_matters(copies):
    names = {fakes.loader(copies).find("emulated").path}
    fakes.compiler(copies, f'/bin/cp {modules.test_module()} "$OUT"', version="2.0")
    names.add(fakes.loader(copies).find("emulated").path)
    names.add(fakes.loader(copies, sources={**fakes.SOURCES, "runtime/call.h": b"x"}).find("emulated").path)
    assert len(names) == 3 and fakes.runs(copies) == 3


def test_without_its_compiler_a_built_module_still_runs(copies):
    built = fakes.loader(copies).find("emulated").path
    shutil.rmtree(copies / "bin")
    assert fakes.loader(copies).find("emulated").path == built


def test_recompile_and_nocompile(copies):
    assert "--nocompile forbids" in fault(copies, nocompile=True) and fakes.runs(copies) == 0
    fakes.loader(copies).find("emulated")
    fakes.loader(copies, recompile=True).find("emulated")
    fakes.loader(copies, nocompile=True).find("emulated")
    assert fakes.runs(copies) == 2


def test_no_compiler(tmp_path):
    assert fault(tmp_path) == "no compiler for emulated cards: no c++ on PATH; install g++"


def test_a_compiler_that_fails_is_quoted_and_remembered(tmp_path):
    fakes.compiler(tmp_path, 'echo "module.cu(7): error: no such thing"; exit 3')
    said = fault(tmp_path)
    assert "fails with status 3 (module.cu(7): error: no such thing); all of it is in " in said
    assert Path(said.rpartition(" ")[2]).read_text().count("no such thing") == 1
    assert "--recompile tries again" in fault(tmp_path) and fakes.runs(tmp_path) == 1
    fault(tmp_path, recompile=True)
    assert fakes.runs(tmp_path) == 2


def test_the_next_compiler_has_its_turn(good, tmp_path):
    fakes.compiler(tmp_path, "exit 1")
    fakes.compiler(tmp_path, f'/bin/cp {good} "$OUT"', name="clang++", version="16")
    assert fakes.loader(tmp_path).find("emulated").path == fakes.loader(tmp_path).find("emulated").path
    assert fakes.runs(tmp_path) == 2


def test_a_compiler_that_hangs_is_ended_with_its_children(tmp_path):
    fakes.compiler(tmp_path, f"/bin/sleep 987 & echo $! > {tmp_path}/child; wait")
    assert "was not done after 4 s" in fault(tmp_path, limit=4)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 60  # what was killed takes a moment to be gone
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "was not done" in fault(tmp_path, limit=1)  # not remembered: the machine may have been busy


@pytest.mark.parametrize(("body", "says"), [
    ("echo hello; exit 0", "made nothing"),
    ('echo rubbish > "$OUT"', "cannot be used"),
    ("kill -9 $$", "ended by signal 9"),
])  # fmt: skip
def test_compilers_that_lie(tmp_path, body, says):
    fakes.compiler(tmp_path, body)
    assert says in fault(tmp_path)


@pytest.mark.parametrize(("flags", "says"), [(("-O0", "-DLF_TEST_ABI=7"), "made from other declarations"),
                                             (("-O0", "-DLF_TEST_NO_SYMBOL"), "has no lf_module_table")])  # fmt: skip
def test_libraries_that_are_no_module_of_ours(tmp_path, flags, says):
    fakes.compiler(tmp_path, f'/bin/cp {modules.test_module(*flags)} "$OUT"')
    assert says in fault(tmp_path)
    assert fakes.runs(tmp_path) == 1 and "--recompile" in fault(tmp_path)


@pytest.mark.parametrize(("what", "says"), [("crash", "dies by SIGSEGV"), ("sum", "computes wrongly"),
                                            ("open", "the card is on fire"), ("run", "the card stopped")])  # fmt: skip
def test_what_goes_wrong_in_the_probe_stays_there(copies, monkeypatch, what, says):
    monkeypatch.setenv("LF_TEST_FAULT", what)
    said = fault(copies)
    assert "was built but cannot be used" in said and says in said
    monkeypatch.delenv("LF_TEST_FAULT")
    assert says in fault(copies) and fakes.runs(copies) == 1
    fakes.loader(copies, recompile=True).find("emulated")


def test_nothing_else_is_built_where_the_probe_failed(copies, good, monkeypatch):
    fakes.compiler(copies, f'/bin/cp {good} "$OUT"', name="clang++", version="16")
    monkeypatch.setenv("LF_TEST_FAULT", "sum")
    for _ in range(2):
        assert "computes wrongly" in fault(copies) and fakes.runs(copies) == 1


def test_a_probe_that_hangs_is_ended(copies, good, monkeypatch):
    monkeypatch.setenv("LF_TEST_FAULT", "hang")
    with pytest.raises(GpuFault, match="gives no answer within 2 s"):
        gpu.probe(good, limit=2)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no note", "bad note"])
def test_a_damaged_module_is_built_again(copies, damage):
    path = Path(fakes.loader(copies).find("emulated").path)
    data, note = bytearray(path.read_bytes()), path.with_suffix(".json")
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "no note":
        note.unlink()
    else:
        note.write_text('["?"')
    path.write_bytes(data)
    lines = []
    assert fakes.loader(copies, lines).find("emulated").path == str(path)
    assert "damaged; the module is made again" in lines[0] and fakes.runs(copies) == 2


def test_folders_fall_through(copies, tmp_path):
    """Where home cannot be written to, not even by root, the next place serves."""
    env = {**fakes.environment(copies), "HOME": "/proc/1"}
    assert fakes.loader(copies, env=env).find("emulated").path.startswith(f"{tmp_path}/.llamafile-{os.getuid()}/9.9/")
    env = {**fakes.environment(copies), "LLAMAFILE_CACHE": str(tmp_path / "mine")}
    assert fakes.loader(copies, env=env, recompile=True).find("emulated").path.startswith(str(tmp_path / "mine"))
    env = {"PATH": env["PATH"], "HOME": "/proc/1", "TMPDIR": "/proc/1"}
    assert "no folder for compiled modules" in fault(copies, env=env) and "LLAMAFILE_CACHE" in fault(copies, env=env)


def test_a_folder_that_others_can_write_to_is_not_trusted(copies, tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert folders.problem(open_to_all) == "can be written to by others"
    env = {**fakes.environment(copies), "LLAMAFILE_CACHE": str(open_to_all)}
    assert not fakes.loader(copies, env=env).find("emulated").path.startswith(str(open_to_all))
    if os.getuid() == 0:
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        os.chown(foreign, 12345, 12345)
        assert folders.problem(foreign) == "belongs to another user"


def test_a_full_disk_falls_through(copies, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(small)],
                      capture_output=True).returncode:  # fmt: skip
        pytest.skip("no file system can be mounted here")
    try:
        env = {**fakes.environment(copies), "LLAMAFILE_CACHE": str(small)}
        assert fakes.loader(copies, env=env).find("emulated").path.startswith(str(copies / "home"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_processes_at_once_compile_once(good, tmp_path):
    fakes.compiler(tmp_path, f'while [ ! -e {tmp_path}/waits ]; do /bin/sleep 0.05; done; /bin/cp {good} "$OUT"')
    code = ("import sys; from pathlib import Path; from tests.gpu import fakes\n"
            "folder = Path(sys.argv[1])\n"
            "class Lines(list):\n"
            "    def append(self, line):\n"
            "        super().append(line)\n"
            "        if 'waiting' in line:\n"
            "            (folder / 'waits').touch()\n"
            "lines = Lines(); found = fakes.loader(folder, lines).find('emulated')\n"
            "print(found.path, any('waiting' in line for line in lines))")  # fmt: skip
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
            for _ in range(2)]  # fmt: skip
    said = [child.communicate(timeout=300)[0].split() for child in both]
    assert said[0][0] == said[1][0] and fakes.runs(tmp_path) == 1
    assert sorted(words[1] for words in said) == ["False", "True"]


def test_prebuilt_members(good, tmp_path):
    digest = loader.digest_of(fakes.SOURCES)
    arch = os.uname().machine
    data = Path(good).read_bytes()
    name = f"gpu/emulated-riscv64+{arch}-{digest}-0badcafe.so"
    found = fakes.loader(tmp_path, members={"gpu/readme.txt": b"", name: data}).find("emulated")
    assert Path(found.path).read_bytes() == data and found.path.endswith("-0badcafe.so")
    assert fakes.loader(tmp_path).find("emulated").path == found.path  # in the cache from here on
    for other in (f"gpu/emulated-{arch}-0000000000000000-1.so", f"gpu/cuda-{arch}-{digest}-1.so",
                  f"gpu/emulated-mips-{digest}-1.so"):  # fmt: skip
        assert "no compiler" in fault(tmp_path, members={other: data}, sources={**fakes.SOURCES, "runtime/a8.h": b"x"})
    lines, sources = [], {**fakes.SOURCES, "runtime/a8.h": b"y"}
    members = {name.replace(digest, loader.digest_of(sources)): b"no"}
    with pytest.raises(GpuFault, match="no compiler"):
        fakes.loader(tmp_path, lines, members, sources).find("emulated")
    assert "cannot be used" in lines[0]


def test_which_code_runs_on_which_card():
    assert loader.covers(["sm_80"], "sm_86") and loader.covers(["sm_75", "sm_80"], "sm_80")
    assert not loader.covers(["sm_86"], "sm_80") and not loader.covers(["sm_80"], "sm_90")
    assert loader.covers(["gfx1100"], "gfx1100") and not loader.covers(["gfx1100"], "gfx1101")


def test_without_sources_it_is_said(tmp_path):
    assert "holds no sources" in fault(tmp_path, sources={"runtime/module.h": b""})

"""The executable starts from wherever and however it is called, and writes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from zipalign.reader import Archive

from .built import CHOSEN, ROOT, run

pytestmark = pytest.mark.built

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change what is mounted")
SAYS = "import sys, _launcher; print(_launcher.path); print(sys.executable); print(sys.argv)"


def _unshared(script: str, *words: object, **more):
    """Run a shell script in mount and process namespaces of its own; skip where the kernel has none for us."""
    if run("unshare", "--mount", "--pid", "--fork", "true").returncode:
        pytest.skip("unshare is not allowed here")
    return run("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec", script, "sh", *words, **more)


def test_version_names_engine_python_and_revision(engine):
    done = run(engine, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("llamafile 0.1.0 (revision ")
    python = sys.version.split()[0] if CHOSEN is None else f"{sys.version_info[0]}.{sys.version_info[1]}."
    assert f"Python {python}" in done.stdout
    assert done.stderr == ""


def test_by_symlink_by_path_renamed_and_relative(probe, tmp_path):
    link, renamed = tmp_path / "link", tmp_path / "a name with späces"
    link.symlink_to(probe)
    shutil.copy(probe, renamed)
    found = run(link, "-c", SAYS).stdout.splitlines()
    assert found[0] == str(probe)  # what it reads, not what it was called
    assert run(renamed, "-c", SAYS).stdout.splitlines()[:2] == [str(renamed)] * 2
    by_path = run("probe", "-c", SAYS, env={"PATH": str(probe.parent)})
    assert by_path.stdout.splitlines()[0] == str(probe)
    relative = run("./probe", "-c", SAYS, cwd=probe.parent)
    assert relative.stdout.splitlines()[0] == str(probe)
    assert "./probe" in relative.stdout.splitlines()[2]


def test_name_that_is_no_text(probe, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe"
    shutil.copy(os.fsencode(probe), path)
    done = subprocess.run([path, "-c", "import os, _launcher; print(os.fsencode(_launcher.path))"], capture_output=True)
    assert done.stdout.decode().strip() == repr(path)


def test_empty_environment_and_missing_home(engine):
    assert run(engine, "--version", env={}).returncode == 0
    assert run(engine, "--version", env={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}).returncode == 0


def test_in_a_folder_that_is_gone(engine, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run("sh", "-c", 'rmdir "$PWD"; exec "$0" --version', engine, cwd=gone)
    assert done.returncode == 0, done.stderr


def test_python_variables_do_not_reach_it(probe):
    text = "import sys; print(sys.path, sys.flags.isolated, sys.flags.utf8_mode, sys.prefix == '')"
    hostile = {"PYTHONPATH": "/tmp", "PYTHONHOME": "/tmp", "PYTHONSTARTUP": "/tmp/x", "PYTHONVERBOSE": "1"}
    done = run(probe, "-c", text, env={**os.environ, **hostile})
    assert (done.stdout, done.stderr) == ("[] 1 1 True\n", "")


def test_files_beside_it_do_not_steer_it(probe, tmp_path):
    copy = tmp_path / "engine"
    shutil.copy(probe, copy)
    (tmp_path / "engine._pth").write_text("/tmp\nimport site\n")
    (tmp_path / "pyvenv.cfg").write_text("home = /tmp\n")
    (tmp_path / "os.py").write_text("raise SystemExit('the wrong os')\n")
    done = run(copy, "-c", "import sys, os; print(sys.path, sys.flags.no_site)", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[] 1\n", "")


def test_called_zipalign_it_is_zipalign(engine, tmp_path):
    link = tmp_path / "zipalign"
    link.symlink_to(engine)
    (tmp_path / "text").write_text("hello")
    done = run(link, "-j0", "new.zip", "text", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run("unzip", "-p", tmp_path / "new.zip", "text").stdout == "hello"


def test_closed_standard_descriptors(probe):
    text = "import os, _launcher; assert _launcher.fd > 2, _launcher.fd; os.stat(_launcher.fd); os._exit(7)"
    done = run("sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', probe, text)
    assert done.returncode == 7


def test_exit_status_and_streams(probe):
    assert run(probe, "-c", "raise SystemExit(3)").returncode == 3
    done = run(probe, "-c", "raise SystemExit('one line')")
    assert (done.returncode, done.stderr) == (1, "one line\n")
    done = run(probe, "-c", "import atexit; atexit.register(print, 'last'); print('first')")
    assert done.stdout == "first\nlast\n"
    done = run(
        probe, "-c", "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('t'))).start()"
    )
    assert done.stdout == "t\n"
    done = run(probe, "-c", "1/0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_full_output_is_an_error(probe):
    with open("/dev/full", "w") as full:
        done = run(probe, "-c", "print('x')", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 120


def test_execute_only_file_says_so(engine, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to run it as somebody else")
    copy = tmp_path / "engine"
    shutil.copy(engine, copy)
    copy.chmod(0o111)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o111)
    done = run(copy, "--version", user=65534, group=65534)
    assert done.returncode == 1
    assert done.stderr.startswith("llamafile: ")
    assert "chmod +r" in done.stderr


@pytest.mark.long
def test_with_a_shared_library_of_python(tmp_path):
    """The other way to link: a small head that loads libpython and the launcher from memory."""
    target = tmp_path / "shared"
    done = run(sys.executable, "-m", "llamafile.freeze", "--shared", "--output", target, cwd=ROOT, timeout=600)
    if "no libpython" in done.stderr:
        pytest.skip("this Python has no shared library")
    assert done.returncode == 0, done.stderr
    assert run(target, "--version").stdout.startswith("llamafile 0.1.0")
    with Archive.open(target) as archive:
        member = archive.members["lib/launcher.so"]
        at = archive.data_offset(member) + member.size // 2
    with open(target, "r+b") as file:
        file.seek(at)
        file.write(b"damage")
    done = run(target, "--version")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "lib/launcher.so is damaged" in done.stderr


@ROOT_ONLY
def test_without_proc(engine):
    done = _unshared('umount -l /proc; ! test -e /proc/self; exec "$1" --version', engine)
    assert done.returncode == 0, done.stderr
    done = _unshared('umount -l /proc; cd "$(dirname "$1")"; PATH=.:$PATH; exec "$(basename "$1")" --version', engine)
    assert done.returncode == 0, done.stderr


@ROOT_ONLY
def test_no_place_to_put_a_program(probe, tmp_path):
    script = """
        for place in "$2" /dev/shm /var/tmp /run; do mount -t tmpfs -o noexec,ro none "$place"; done
        HOME=$2 TMPDIR=$2 exec "$1" -c 'import isal.isal_zlib as z; print(z.crc32(b"hello"))'
    """
    done = _unshared(script, probe, tmp_path)
    assert done.stdout == "907060870\n", done.stderr


@ROOT_ONLY
@pytest.mark.parametrize("level", [0, 1, 2])
def test_memory_files_that_may_not_be_executed(probe, level):
    script = f"""
        test -w /proc/sys/vm/memfd_noexec || exit 77
        echo {level} > /proc/sys/vm/memfd_noexec
        exec "$1" -c 'import isal.isal_zlib as z; print(z.crc32(b"hello"))'
    """
    done = _unshared(script, probe)
    if done.returncode == 77:
        pytest.skip("this kernel has no vm.memfd_noexec")
    assert done.stdout == "907060870\n", done.stderr


def test_nothing_is_written(probe, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    calls = (
        "openat,open,creat,mkdir,mkdirat,rename,renameat2,link,symlink,symlinkat,unlink,unlinkat,mknod,mknodat,truncate"
    )
    text = "import isal.isal_zlib, zipfile_deflate64, _cffi_backend, mmap, struct, json, re"
    done = run("strace", "-f", "-qq", "-e", f"trace={calls}", "-o", tmp_path / "trace", probe, "-c", text)
    assert done.returncode == 0, done.stderr
    traced = (tmp_path / "trace").read_text().splitlines()
    assert any("/proc/self/exe" in line for line in traced)
    opened = ("open(", "openat(")
    changing = [
        line for line in traced if not line.split(None, 1)[1].startswith(opened) or "O_WR" in line or "O_RDWR" in line
    ]
    assert changing == []


def test_native_modules_of_the_engine(probe):
    text = "import _cffi_backend, isal.isal_zlib, isal.igzip_lib, zipfile_deflate64, markupsafe._speedups, zlib, mmap\n"
    text += "import llamafile._native, runtime._core; print(bool(runtime._core.lib), bool(llamafile._native.ffi))"
    done = run(probe, "-c", text)
    assert done.stdout == "True True\n", done.stderr


def test_own_files_are_read_from_the_executable(probe):
    text = "from llamafile import own; print(own.path() == own.archive().label, own.read('.engine')[:8])"
    done = run(probe, "-c", text)
    assert done.stdout == "True b'version '\n", done.stderr


def test_every_module_can_be_imported(probe):
    """What the collector left out must be missed by nobody: each module of ours and of others is imported."""
    text = (
        "import _launcher, sys\nfrom llamafile import own\n"
        "names = [n[3:-4].replace('/', '.') for n in own.archive().members if n[:3] == 'py/']\n"
        "names = [n.removesuffix('.__init__') for n in names]\n"
        "failed = []\n"
        "for name in names:\n"
        "    if not name.startswith(('encodings', '__main__')):\n"
        "        try: __import__(name)\n"
        "        except BaseException as e: failed.append((name, repr(e)))\n"
        "print(len(names), failed)"
    )
    done = run(probe, "-c", text)
    count, _, failed = done.stdout.partition(" ")
    assert int(count) > 200, done.stderr
    assert failed.strip() == "[]"

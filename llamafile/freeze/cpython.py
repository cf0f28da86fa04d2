"""`python -m llamafile.freeze.cpython`: builds CPython, zlib, libffi and cffi's C part with zig, for any Linux."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from pathlib import Path

from llamafile.errors import LlamafileError
from llamafile.freeze import sources, zig
from llamafile.freeze.collect import ROOT
from llamafile.freeze.link import run

# C modules of the standard library that go into the head; those that need a library of their own are left out.
MODULES = """
    array _asyncio _bisect _blake2 _contextvars _csv _datetime _heapq _json _md5 _opcode _pickle _posixsubprocess _queue
    _random _sha1 _sha256 _sha3 _sha512 _socket _statistics _struct _typing _zoneinfo binascii cmath fcntl grp math mmap
    pyexpat resource select syslog termios unicodedata zlib
""".split()  # noqa: SIM905

ZLIB_FILES = (
    "adler32",
    "compress",
    "crc32",
    "deflate",
    "infback",
    "inffast",
    "inflate",
    "inftrees",
    "trees",
    "uncompr",
    "zutil",
)
CTYPES_FILES = ("_ctypes", "callbacks", "callproc", "cfield", "stgdict")
CTYPES_FLAGS = "-DPy_BUILD_CORE_MODULE -DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC"
OPTIMISED = "-O3 -DNDEBUG -fwrapv -g0 -fno-pie"


def build(folder: Path, target: str, jobs: int = 2) -> Path:
    """Build in folder/TARGET unless this very recipe did so before; returns that folder, for link.python_built."""
    folder = folder.resolve()
    place = folder / target
    mark = place / "recipe"
    if mark.is_file() and mark.read_text() == _recipe(target):
        return place
    if triple_machine(target) != os.uname().machine:
        raise LlamafileError(
            f"{target}: only targets of this machine's processor can be built so far; build it on one such"
        )
    shelf = sources.Shelf(folder / "fetched")
    mark.unlink(missing_ok=True)
    tools = {name: str(zig.tool(name, target, folder / "tools")) for name in ("cc", "c++", "ar", "ranlib")}
    _say("zlib and libffi")
    _build_zlib(sources.unpack(shelf.debian(sources.ZLIB), place / "zlib"), place / "deps", tools)
    _build_ffi(sources.unpack(shelf.debian(sources.FFI), place / "libffi"), place / "deps", tools, jobs)
    archive = shelf.debian(sources.CPYTHON)
    revision, fixes = shelf.fixes(sources.CPYTHON, sources.CPYTHON_SUITE)
    _say(f"CPython {revision} (some minutes)")
    tree = sources.unpack(archive, place / "cpython", fixes)
    cffi = sources.unpack(shelf.cffi(), place / "cffi")
    for part in ("c", "cffi"):  # it includes headers of the Python half by ../cffi
        shutil.copytree(cffi / "src" / part, tree / "Modules" / "cffi", dirs_exist_ok=True)
    _build_python(tree, place / "deps", tools, jobs)
    (place / "revision").write_text(revision)
    mark.write_text(_recipe(target))
    return place


def triple_machine(target: str) -> str:
    """The processor of a target: its first word."""
    return target.partition("-")[0]


def _recipe(target: str) -> str:
    digest = hashlib.sha256(target.encode())
    for name in ("cpython.py", "sources.py", "zig.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _say(what: str) -> None:
    print(f"llamafile: building {what}", file=sys.stderr, flush=True)


def _build_zlib(tree: Path, deps: Path, tools: dict[str, str]) -> None:
    for name in ("include", "lib"):
        (deps / name).mkdir(parents=True, exist_ok=True)
    flags = ["-O3", "-fno-pie", "-DHAVE_UNISTD_H", "-DHAVE_HIDDEN", "-c"]
    for name in ZLIB_FILES:
        run([tools["cc"], *flags, f"{name}.c"], cwd=tree)
    (deps / "lib" / "libz.a").unlink(missing_ok=True)
    run([tools["ar"], "rcs", str(deps / "lib" / "libz.a"), *(f"{name}.o" for name in ZLIB_FILES)], cwd=tree)
    for name in ("zlib.h", "zconf.h"):
        shutil.copy(tree / name, deps / "include")


def _build_ffi(tree: Path, deps: Path, tools: dict[str, str], jobs: int) -> None:
    work = tree / "work"
    work.mkdir()
    command = ["../configure", "--disable-shared", "--enable-static", "--disable-docs", "--disable-multi-os-directory"]
    command += [
        "--disable-exec-static-tramp",
        "--disable-raw-api",
    ]  # closures are not used: cffi's modules are compiled
    command += [
        f"--prefix={deps}",
        f"CC={tools['cc']}",
        f"CXX={tools['c++']}",
        f"AR={tools['ar']}",
        f"RANLIB={tools['ranlib']}",
    ]
    run([*command, "CFLAGS=-O2 -fno-pie"], cwd=work)
    run(["make", f"-j{jobs}", "install"], cwd=work)


def _build_python(tree: Path, deps: Path, tools: dict[str, str], jobs: int) -> None:
    environment = {
        **os.environ,
        "CC": tools["cc"],
        "CXX": tools["c++"],
        "AR": tools["ar"],
        "RANLIB": tools["ranlib"],
        "OPT": f"{OPTIMISED} -w",
        "CPPFLAGS": f"-I{deps}/include",
        "LDFLAGS": f"-no-pie -L{deps}/lib -s",
        "ZLIB_CFLAGS": f"-I{deps}/include",
        "ZLIB_LIBS": f"-L{deps}/lib -lz",
        "PKG_CONFIG": "false",  # nothing of this machine's libraries may come in
        "MODULE_BUILDTYPE": "static",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        "./configure",
        "--disable-shared",
        "--without-ensurepip",
        "--disable-test-modules",
        "--without-doc-strings",
    ]
    run([*command, "--without-readline", "--with-lto=no", "--prefix=/nonexistent"], cwd=tree, env=environment)
    _choose_modules(tree, deps)
    run(["make", f"-j{jobs}", "python", "libpython3.11.a"], cwd=tree, env=environment)
    shutil.copy(tree / "Modules" / "expat" / "libexpat.a", deps / "lib")  # of CPython's own copy


def _choose_modules(tree: Path, deps: Path) -> None:
    """Replace configure's list of C modules by the wanted part of it, all linked into the library, and cffi's."""
    listed = tree / "Modules" / "Setup.stdlib"
    rows = {row.split()[0]: row for row in listed.read_text().splitlines() if row.strip() and row[0] not in "#*"}
    missing = [name for name in MODULES if name not in rows]
    if missing:
        raise LlamafileError(f"CPython: configure leaves out {' '.join(missing)}; see {tree / 'config.log'}")
    ffi = f"-I{deps}/include -L{deps}/lib -lffi"
    chosen = ["*static*", *(rows[name] for name in MODULES)]
    chosen.append(f"_ctypes {' '.join(f'_ctypes/{name}.c' for name in CTYPES_FILES)} {CTYPES_FLAGS} {ffi}")
    chosen.append(f"_cffi_backend cffi/_cffi_backend.c -DFFI_BUILDING -DUSE__THREAD {ffi}")
    listed.write_text("# see Setup.local\n")
    (tree / "Modules" / "Setup.local").write_text("\n".join(chosen) + "\n")


def main() -> int:
    """Read the command line and build; a failure is one message and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m llamafile.freeze.cpython", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "cpython", help="where sources and results are kept"
    )
    parser.add_argument(
        "--target", default=zig.TARGET, help="zig's name of the machine, C library and its oldest version"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes of make")
    chosen = parser.parse_args()
    try:
        print(build(chosen.folder, chosen.target, chosen.jobs))
    except LlamafileError as error:
        print(f"llamafile: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

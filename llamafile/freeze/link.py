"""Compiles the launcher and links it with CPython and the modules that go into the head."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from llamafile.errors import LlamafileError
from llamafile.freeze import zig
from llamafile.freeze.collect import ROOT

LAUNCHER = ROOT / "runtime" / "launcher"
_LICENSES_AT_HAND = (
    Path("/usr/share/doc") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "copyright",
    Path(sysconfig.get_path("stdlib")) / "LICENSE.txt",  # where an installation from upstream has it
)
SYSTEM_LIBRARIES = ("-lpthread", "-ldl", "-lutil", "-lm")  # parts of the C library
WARNINGS = ["-Wall", "-Wextra", "-Werror"]

# What the file does by the name it is called by; the last row is for every other name.
PROGRAMS = (("zipalign", "zipalign.__main__"), (None, "llamafile.__main__"))


class Python(NamedTuple):
    """One CPython to freeze: how to run it, compile against it and link it."""

    command: list[str]  # runs it, or one of the same version, to compile bytecode
    version: str
    builtin: frozenset[str]  # modules inside the library
    includes: list[str]
    library: Path | None  # the static library, or None where there is only a shared one
    shared: Path | None
    link_flags: list[str]
    standard: Path  # folder of the standard library's sources
    cc: list[str]
    target: str
    at_hand: bool
    licenses: dict[str, Path]  # of CPython and what is linked with it
    extensions: dict[str, Path]  # extension modules that were built with it


def python_at_hand() -> Python:
    """The interpreter that runs this, which has its static library in LIBPL or at least a shared one."""
    get = sysconfig.get_config_var
    static = Path(get("LIBPL") or "/nonexistent") / str(get("LIBRARY"))
    shared = Path(get("LIBDIR") or "/nonexistent") / str(get("INSTSONAME"))
    words = " ".join(str(get(name) or "") for name in ("LIBS", "MODLIBS", "SYSLIBS")).split()
    cc = os.environ.get("CC", "cc").split()
    flags = [*_library_flags(words, cc), *SYSTEM_LIBRARIES]
    return Python(
        command=[sys.executable],
        version=sys.version.split()[0],
        builtin=frozenset(sys.builtin_module_names),
        includes=sorted({f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")}),
        library=static if static.is_file() and _is_whole(static, cc, flags) else None,
        shared=shared if shared.is_file() else None,
        link_flags=flags,
        standard=Path(sysconfig.get_path("stdlib")),
        cc=cc,
        target=f"{os.uname().machine}-linux-gnu",
        at_hand=True,
        licenses={f"python/{text.name}": text for text in _LICENSES_AT_HAND if text.is_file()},
        extensions={},
    )


def _is_whole(library: Path, cc: list[str], flags: list[str]) -> bool:
    """Whether a program can be linked with it: Debian's of 3.13 refers to an archive that no package has."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text("int Py_BytesMain(int, char **);\nint main(int c, char **v) { return Py_BytesMain(c, v); }\n")
        command = [*cc, "-no-pie", "-o", str(Path(folder) / "trial"), str(source), str(library), *flags]
        return subprocess.run(command, capture_output=True).returncode == 0


def _library_flags(words: list[str], cc: list[str]) -> list[str]:
    """The libraries that a libpython asks for beyond the C library, static ones where they are installed."""
    found = []
    for flag in dict.fromkeys(word for word in words if word.startswith("-l") and word not in SYSTEM_LIBRARIES):
        archive = f"lib{flag[2:]}.a"
        done = subprocess.run([*cc, f"-print-file-name={archive}"], capture_output=True, text=True)
        path = done.stdout.strip()
        found.append(path if os.path.isabs(path) and os.path.isfile(path) else flag)
    return found


def python_built(folder: Path) -> Python:
    """The CPython that llamafile.freeze.cpython has built in folder."""
    folder = folder.resolve()
    tree, deps = folder / "cpython", folder / "deps"
    config, revision = tree / "Modules" / "config.c", folder / "revision"
    if not revision.is_file():
        raise LlamafileError(f"{folder}: no finished CPython in it; run python -m llamafile.freeze.cpython")
    return Python(
        command=[str(tree / "python")],
        version=revision.read_text().strip(),
        builtin=frozenset(re.findall(r'\{"([\w.]+)", \w+\}', config.read_text())),
        includes=[f"-I{tree / 'Include'}", f"-I{tree}"],
        library=next(tree.glob("libpython3.*.a"), None),
        shared=None,
        link_flags=[*map(str, sorted(deps.glob("lib/*.a"))), *SYSTEM_LIBRARIES],
        standard=tree / "Lib",
        cc=[str(zig.tool("cc", folder.name, folder.parent / "tools"))],
        target=folder.name,
        at_hand=False,
        licenses={name: folder / tree / "LICENSE" for name, tree in (("python", "cpython"), ("libffi", "libffi"))}
        | {"zlib": folder / "zlib" / "zlib.h", "openssl": folder / "openssl" / "LICENSE.txt"},  # zlib's begins with it
        extensions={"_ssl": folder / "_ssl.so"},
    )


def program_tables() -> str:
    """C text of the tables that launcher.h declares."""
    rows = "".join(f"    {{{_quoted(name)}, {_quoted(module)}}},\n" for name, module in PROGRAMS)
    return (
        '/* Generated: by which name the file does what. */\n#include "launcher.h"\n#include <stddef.h>\n'
        'const char lf_product[] = "llamafile";\n'
        f"const struct lf_program lf_programs[] = {{\n{rows}}};\n"
    )


def module_table(linked: list[str]) -> str:
    """C text of the table that builtins.h declares, of the modules linked into the head."""
    functions = {name: f"PyInit_{name.rpartition('.')[2]}" for name in linked}
    declared = "".join(f"PyObject *{function}(void);\n" for function in functions.values())
    rows = "".join(f'    {{"{name}", {function}}},\n' for name, function in functions.items())
    return (
        '/* Generated: the modules that are linked into the head. */\n#include "builtins.h"\n'
        f"{declared}const struct lf_builtin lf_builtins[] = {{\n{rows}    {{NULL, NULL}},\n}};\n"
    )


def library_table(members: list[str]) -> str:
    """C text of the table that stub.c reads: the members it loads, in order."""
    rows = "".join(f"    {_quoted(name)},\n" for name in members)
    return (
        "/* Generated: what the head loads. */\n#include <stddef.h>\n"
        f"const char *const lf_libraries[] = {{\n{rows}    NULL,\n}};\n"
    )


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else f'"{text}"'


class Head(NamedTuple):
    """The launcher: the bytes for the slot, and members that it cannot start without."""

    image: bytes
    members: dict[str, bytes]


def link_head(python: Python, natives: dict[str, list[Path]], work: Path) -> Head:
    """Build the launcher in work with the given modules' objects inside.

    With a static library everything is in the slot; else a small head loads the shared one, which becomes a member."""
    work.mkdir(parents=True, exist_ok=True)
    texts = {"programs.c": program_tables(), "modules.c": module_table(sorted(natives))}
    for name, text in texts.items():
        (work / name).write_text(text)
    linked = [path for paths in natives.values() for path in paths]
    if python.library is not None:
        return _link_static(python, linked, work)
    if python.shared is not None:
        return _link_shared(python, linked, work)
    raise LlamafileError(f"Python {python.version}: it has no libpython to link; install its development package")


def _link_static(python: Python, linked: list[Path], work: Path) -> Head:
    """Not position-independent: some ten thousand pointers in CPython's tables would be relocated at every start."""
    sources = [*_launcher("main", "self", "archive", "crc32", "start", "module", "paths"), *_tables(work)]
    objects = [_compiled(python, source, work, "-fno-pie") for source in sources]
    head = work / "head"
    # Objects first: paths.c takes the place of a function in the library, which is then not asked for its own.
    command = [*python.cc, "-no-pie", "-o", str(head), "-s", "-Wl,--export-dynamic", *map(str, [*objects, *linked])]
    run([*command, str(python.library), *python.link_flags])
    return Head(head.read_bytes(), {})


def _link_shared(python: Python, linked: list[Path], work: Path) -> Head:
    sources = [*_launcher("self", "archive", "crc32", "start", "module"), *_tables(work)]
    objects = [_compiled(python, source, work, "-fPIC", "-fvisibility=hidden") for source in sources]
    launcher, head, listed = work / "launcher.so", work / "head", work / "libraries.c"
    command = [*python.cc, "-shared", "-o", str(launcher), "-s", *map(str, [*objects, *linked]), str(python.shared)]
    run([*command, *SYSTEM_LIBRARIES])  # what else libpython needs it names itself
    shared = Path(str(python.shared)).resolve()
    needed = [*_needed(shared), shared]
    members = {f"lib/{path.name}": stripped(path) for path in needed}
    members["lib/launcher.so"] = launcher.read_bytes()
    listed.write_text(library_table(list(members)))
    sources = [*_launcher("stub", "self", "archive", "crc32"), work / "programs.c", listed]
    objects = [_compiled(python, source, work, "-fno-pie") for source in sources]
    run([*python.cc, "-no-pie", "-o", str(head), "-s", *map(str, objects), "-ldl"])
    return Head(head.read_bytes(), members)


def _needed(library: Path) -> list[Path]:
    """What a shared library needs beyond the C library (zlib, expat); loaded before it, they are found by name."""
    of_system = ("libc.", "libm.", "libdl.", "libutil.", "libpthread.", "librt.", "ld-linux", "linux-vdso")
    done = subprocess.run(["ldd", str(library)], capture_output=True, text=True)
    found = re.findall(r"^\s*(\S+) => (/\S+)", done.stdout, re.MULTILINE)
    return [Path(path).resolve() for name, path in found if not name.startswith(of_system)]


def _launcher(*names: str) -> list[Path]:
    return [LAUNCHER / f"{name}.c" for name in names]


def _tables(work: Path) -> list[Path]:
    return [work / "programs.c", work / "modules.c"]


def _compiled(python: Python, source: Path, work: Path, *flags: str) -> Path:
    target = work / f"{source.stem}.o"
    common = ["-std=gnu11", "-O2", *WARNINGS, *python.includes, f"-I{LAUNCHER}"]
    run([*python.cc, *common, *flags, "-c", str(source), "-o", str(target)])
    return target


def run(command: list[str], **more: Any) -> None:
    """Run a build command; on failure raise with the last of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        words = " ".join(
            [Path(command[0]).name, *(Path(word).name for word in command if word.endswith((".c", ".so")))]
        )
        raise LlamafileError(f"{words}: failed; {(done.stderr or done.stdout).strip()[-3000:]}")


def stripped(path: Path) -> bytes:
    """A shared object's bytes without what only debuggers read; as it is where there is no strip."""
    tool = shutil.which("strip")
    if tool is None:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        run([tool, "--strip-unneeded", "-o", str(target), str(path)])
        return target.read_bytes()

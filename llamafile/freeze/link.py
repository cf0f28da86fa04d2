"""Compiles the launcher and links it with CPython and the modules that go into the head."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from llamafile.errors import LlamafileError
from llamafile.freeze.collect import ROOT

LAUNCHER = ROOT / "runtime" / "launcher"
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


def python_at_hand() -> Python:
    """The interpreter that runs this, which has its static library in LIBPL or at least a shared one."""
    get = sysconfig.get_config_var
    static = Path(get("LIBPL") or "/nonexistent") / str(get("LIBRARY"))
    shared = Path(get("LIBDIR") or "/nonexistent") / str(get("INSTSONAME"))
    flags = [w for name in ("LIBS", "MODLIBS", "SYSLIBS") for w in str(get(name) or "").split() if not w.startswith(("-L", "-Wl"))]
    cc = os.environ.get("CC", "cc").split()
    return Python(
        command=[sys.executable],
        version=sys.version.split()[0],
        builtin=frozenset(sys.builtin_module_names),
        includes=sorted({f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")}),
        library=static if static.is_file() else None,
        shared=shared if shared.is_file() else None,
        link_flags=[*dict.fromkeys(flags), "-lpthread", "-ldl", "-lutil", "-lm"],
        standard=Path(sysconfig.get_path("stdlib")),
        cc=cc,
        target=f"{os.uname().machine}-linux-gnu",
    )


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
        link_flags=[str(deps / "lib" / "libz.a"), str(deps / "lib" / "libffi.a"), "-lpthread", "-ldl", "-lutil", "-lm"],
        standard=tree / "Lib",
        cc=[str(folder.parent / "tools" / f"zig-cc-{folder.name}")],
        target=folder.name,
    )


def generated_tables(builtins: list[str]) -> str:
    """C text of the tables that launcher.h and builtins.h declare; builtins are modules linked into the head."""
    rows = "".join(f'    {{"{name}", PyInit_{name.rpartition(".")[2]}}},\n' for name in builtins)
    declared = "".join(f"PyObject *PyInit_{name.rpartition('.')[2]}(void);\n" for name in builtins)
    programs = "".join(f'    {{{_quoted(name)}, "{module}"}},\n' for name, module in PROGRAMS)
    return (
        '/* Generated: which programs and linked modules the head knows. */\n#include "builtins.h"\n#include "launcher.h"\n'
        f'{declared}const char lf_product[] = "llamafile";\n'
        f"const struct lf_program lf_programs[] = {{\n{programs}}};\n"
        f"const struct lf_builtin lf_builtins[] = {{\n{rows}    {{NULL, NULL}},\n}};\n"
    )


def _quoted(name: str | None) -> str:
    return "NULL" if name is None else f'"{name}"'


def link_head(python: Python, natives: dict[str, list[Path]], work: Path) -> Path:
    """Build the launcher in work with the static library and the given modules' objects inside; returns its path.

    Not position-independent: some ten thousand pointers in CPython's tables would have to be relocated at every start."""
    if python.library is None:
        raise LlamafileError(f"Python {python.version}: it has no static library; install its development package")
    work.mkdir(parents=True, exist_ok=True)
    tables = work / "tables.c"
    tables.write_text(generated_tables(sorted(natives)))
    objects = [compile_object(python, source, work) for source in [*launcher_sources("main"), tables]]
    objects += [path for paths in natives.values() for path in paths]
    head = work / "head"
    # Objects first: paths.c takes the place of a function in the library, which is then not asked for its own.
    command = [*python.cc, "-no-pie", "-o", str(head), "-s", "-Wl,--export-dynamic", *map(str, objects)]
    run([*command, str(python.library), *python.link_flags])
    return head


def launcher_sources(entry: str) -> list[Path]:
    """The launcher's C files, with the given one of its two entries."""
    return [LAUNCHER / f"{name}.c" for name in (entry, "self", "archive", "crc32", "start", "module", "paths")]


def compile_object(python: Python, source: Path, work: Path, *flags: str) -> Path:
    """Compile one C file of the launcher into work; returns the object."""
    target = work / f"{source.stem}.o"
    common = ["-std=gnu11", "-O2", "-fno-pie", *WARNINGS, *python.includes, f"-I{LAUNCHER}"]
    run([*python.cc, *common, *flags, "-c", str(source), "-o", str(target)])
    return target


def run(command: list[str], **more: object) -> None:
    """Run a build command; on failure raise with the last of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if done.returncode:
        words = " ".join(command[:1] + [Path(word).name for word in command[1:] if word.endswith(".c")][:3])
        raise LlamafileError(f"{words}: failed; {(done.stderr or done.stdout).strip()[-3000:]}")

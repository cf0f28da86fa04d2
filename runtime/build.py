"""Compile the C core: kernels once for each instruction set, then one cffi module, shared or as a static archive."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .generate import abi_header, ops_header
from .quants.generate import header as formats_header

ROOT = Path(__file__).resolve().parent
BUILD = ROOT.parent / "build"
# After FLAGS, so that -O1 counts: sanitized code is for finding faults, and compiles in half the time.
# Tiles are emulated there: so they are tested on processors without them too.
SANITIZERS = ["-O1", "-g1", "-DLF_AMX_EMULATED",
              "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
RACES = ["-O1", "-g1", "-DLF_AMX_EMULATED", "-fsanitize=thread"]
ABI = ("program.h", "call.h", "a8.h", "module.h")  # with the generated headers, what a GPU module must agree on
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
FLAGS = ["-std=gnu11", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-pthread"]

# Instruction sets, least first: cpu.c names the same tables and says which processors run them.
ISAS = {
    "x86_64": {
        "sse2": [],
        "avx": ["-mavx"],
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avxvnni": ["-mavx2", "-mfma", "-mf16c", "-mavxvnni"],
        "avx512": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd",
                   "-mprefer-vector-width=512"],
        "avx512vnni": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd",
                       "-mavx512vnni", "-mavx512bf16", "-mprefer-vector-width=512"],
        "amx": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512cd",
                "-mavx512vnni", "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16", "-mprefer-vector-width=512"],
    },
}  # fmt: skip


class Toolchain:
    """A C compiler, the machine it makes code for, and the flags that every file gets."""

    def __init__(self, cc=None, flags=(), machine=None, warnings=WARNINGS):
        self.cc = list(cc or [os.environ.get("CC") or "cc"])
        self.flags, self.warnings = list(flags), list(warnings)
        self.machine = machine or platform.machine()

    def key(self):
        """What changes the objects that this toolchain makes."""
        return repr((self.cc, self.flags, self.machine))

    def run(self, arguments):
        """Run the compiler; on a failure show what it said and stop."""
        done = subprocess.run([*self.cc, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"build: {' '.join([*self.cc, *arguments])}\n{done.stdout}{done.stderr}")


class Module:
    """A cffi module made of C files: its dotted name, its sources, headers with cdef regions, and include folders."""

    def __init__(self, name, sources, headers, includes, kernels=None):
        self.name, self.sources, self.headers = name, sorted(sources), sorted(headers)
        self.includes, self.kernels = list(includes), kernels

    def cdefs(self):
        """The declarations between cdef-begin and cdef-end of the headers, in order."""
        found = []
        for header in self.headers:
            found += re.findall(r"/\* cdef-begin \*/(.*?)/\* cdef-end \*/", header.read_text(), re.DOTALL)
        return "\n".join(found)


def core():
    """The module runtime._core."""
    skip = {ROOT / "kernels.c"} | set((ROOT / "ops").glob("*.c"))
    sources = [p for p in [*ROOT.glob("*.c"), *(ROOT / "quants").glob("*.c")] if p not in skip]
    headers = [*(ROOT / name for name in ("program.h", "call.h", "module.h", "core.h")), ROOT / "quants" / "quants.h"]
    includes = [ROOT, ROOT / "ops", ROOT / "quants", BUILD / "generated"]
    module = Module("runtime._core", sources, [], includes, kernels=ROOT / "kernels.c")
    module.headers = headers  # program.h declares what core.h uses
    return module


def write_headers():
    """Write the generated headers where they changed; returns their folder."""
    folder = BUILD / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"ops.h": ops_header(), "formats.h": formats_header()}
    texts["abi.h"] = abi_header([*(ROOT / name for name in ABI), *texts.values()])
    for name, text in texts.items():
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)
    return folder


def compile_module(module, toolchain, folder):
    """Compile a module's objects into a folder, each only when something that it reads has changed; return them."""
    from cffi import FFI

    folder.mkdir(parents=True, exist_ok=True)
    write_headers()
    ffi = FFI()
    ffi.cdef(module.cdefs())
    ffi.set_source(module.name, "".join(f'#include "{h}"\n' for h in module.headers))
    glue = folder / (module.name.replace(".", "_") + ".c")
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it writes
        ffi.emit_c_code(str(glue))
    headers = hashlib.sha256(b"".join(p.read_bytes() for d in module.includes for p in sorted(Path(d).glob("*.[ch]"))))
    include = [f"-I{d}" for d in module.includes]
    python = f"-I{sysconfig.get_paths()['include']}"
    jobs = [(s, folder / (s.stem + ".o"), [*toolchain.warnings, *include]) for s in module.sources]
    jobs.append((glue, glue.with_suffix(".o"), [*include, python]))
    if module.kernels:
        sets = ISAS.get(toolchain.machine, {"generic": []})
        common = [*toolchain.warnings, *include]
        jobs += [(module.kernels, folder / f"kernels_{isa}.o", [*common, *flags, f"-DLF_ISA={isa}"])
                 for isa, flags in sets.items()]

    def one(job):
        source, target, flags = job
        command = [*FLAGS, *toolchain.flags, *flags, "-c", str(source), "-o", str(target)]
        key = hashlib.sha256(headers.digest() + source.read_bytes() + repr((toolchain.key(), command)).encode())
        stamp = target.with_suffix(".key")
        if not target.exists() or not stamp.exists() or stamp.read_text() != key.hexdigest():
            toolchain.run(command)
            stamp.write_text(key.hexdigest())
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, jobs))


def link_module(module, toolchain, objects, target):
    """Link a module's objects into the extension that Python imports, by a temporary name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    toolchain.run([*toolchain.flags, "-shared", "-pthread", "-o", str(fresh), *map(str, objects), "-lm"])
    fresh.replace(target)


def extension_path(module):
    """Where the extension of a module lies beside its package's sources."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return ROOT.parent / (module.name.replace(".", os.sep) + suffix)


def build(module, sanitize=False, races=False):
    """Build a module for this machine; return the extension's path.

    In place; or under build/sanitized with the sanitizers for memory and undefined behaviour, or under build/races with
    the one for threads.
    """
    # The ordinary build has made sure of the warnings; at another optimisation level other ones would come.
    kind = "sanitized" if sanitize else "races" if races else "native"
    checks = {"sanitized": SANITIZERS, "races": RACES}
    toolchain = Toolchain(flags=checks[kind], warnings=["-w"]) if kind in checks else Toolchain()
    objects = compile_module(module, toolchain, BUILD / "objects" / kind / module.name)
    target = extension_path(module)
    if kind in checks:
        target = BUILD / kind / target.relative_to(ROOT.parent)
    newest = max(o.stat().st_mtime_ns for o in objects)
    if not target.exists() or target.stat().st_mtime_ns < newest:
        link_module(module, toolchain, objects, target)
    return target


if __name__ == "__main__":
    print(build(core(), sanitize="--sanitize" in sys.argv))

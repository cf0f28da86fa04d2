"""Asks PyInstaller's analysis which modules, native extensions and libraries the programs reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from llamafile.errors import LlamafileError
from runtime.build import write_headers

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("llamafile", "zipalign", "runtime", "gpu_modules")

# Reached in the sources only through development tools, optional back ends, or platforms this file does not run on.
EXCLUDED = """
    numpy PyInstaller altgraph setuptools pkg_resources distutils _distutils_hack pip wheel cffi pycparser pytest
    _pytest hypothesis gguf mypy mypyc unittest doctest pdb bdb cmd code codeop pydoc pydoc_data lib2to3 idlelib tkinter
    _tkinter turtle turtledemo test ensurepip venv curses _curses sqlite3 _sqlite3 dbm readline rlcompleter ziglang
    xmlrpc ftplib nntplib smtplib poplib imaplib telnetlib mailbox cgi cgitb wsgiref netrc getpass webbrowser
    multiprocessing concurrent.futures.process _decimal statistics winreg msvcrt _winapi nt
    nturl2path ntpath _overlapped _msi colorama IPython ipywidgets matplotlib pandas keras tensorflow dask trio
    babel _osx_support _scproxy cProfile profile pstats trace tracemalloc lzma _lzma bz2 _bz2 _testcapi crypt _crypt nis
    _xxsubinterpreters ossaudiodev spwd audioop asyncio.windows_events asyncio.windows_utils asyncio.proactor_events
    ctypes.wintypes click._winconsole tqdm.notebook
    typing_extensions _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _multibytecodec
    _hashlib sentencepiece tokenizers attr attrs
    xml.sax xml.etree xml.dom.pulldom urllib.request http.client http.cookiejar wcwidth._wcwidth_c
    prompt_toolkit.contrib prompt_toolkit.input.win32 prompt_toolkit.output.win32 rich._win32_console
    rich._windows_renderer prompt_toolkit.eventloop.win32 prompt_toolkit.input.win32_pipe prompt_toolkit.output.conemu
    prompt_toolkit.output.windows10 prompt_toolkit.win32_types runtime.build runtime.generate runtime.quants.generate
""".split()  # noqa: SIM905

# Of some hundred encodings those that a terminal, a prompt file or a ZIP directory may speak.
ENCODINGS = """
    aliases ascii cp1252 cp437 idna latin_1 punycode raw_unicode_escape unicode_escape utf_16 utf_16_be utf_16_le utf_32
    utf_8 utf_8_sig
""".split()  # noqa: SIM905

# Of some 250 files of lexers those of languages that models write often, with the word lists they need.
LEXERS = """
    _cocoa_builtins _css_builtins _googlesql_builtins _julia_builtins _lua_builtins _luau_builtins _mapping
    _mysql_builtins _php_builtins _postgres_builtins _sql_builtins _tsql_builtins
    c_cpp configs console css data diff dotnet erlang go haskell html javascript julia jvm make
    ml objective perl php python r ruby rust scripting shell sql textfmts zig
""".split()  # noqa: SIM905

# Package → which of its modules go in, where by far most are for rare uses.
SOME_OF = {"encodings": ENCODINGS, "pygments.lexers": LEXERS, "pygments.formatters": ["_mapping"],
           "pygments.styles": ["_mapping"], "wcwidth.table_grapheme_overrides": ["_registry"]}

# Modules in C beside which their packages have another way.
DONE_WITHOUT = ("_uuid",)

# Folders of ours that only a checkout needs.
CHECKOUT_ONLY = (
    "llamafile/freeze/",
    "llamafile/build.py",
    "llamafile/page/build.py",
    "llamafile/page/src/",
    "llamafile/tokens/make_unicode.py",
    "runtime/build.py",
    "runtime/generate.py",
    "runtime/quants/generate.py",
)


class Collection(NamedTuple):
    """What goes in: module → source, extension module → its shared object, name of a library it needs → path."""

    modules: dict[str, Path]
    extensions: dict[str, Path]
    libraries: dict[str, Path]
    builtin: list[str]  # modules inside this very Python


def own_modules() -> list[str]:
    """Every module of the four packages that belongs in the executable: many are imported by a computed name."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if not relative.startswith(CHECKOUT_ONLY):
                names.append(relative.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    return names


# Imported by compiled code or by a computed name, where no analysis sees it.
HIDDEN = ("_cffi_backend", "isal.igzip_lib", "markupsafe._speedups")


def collect(work: Path) -> Collection:
    """Analyse in a process of its own (PyInstaller keeps state in globals), with work as its scratch folder."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    script, spec, answer = work / "reach.py", work / "reach.spec", work / "reach.json"
    script.write_text("".join(f"import {name}\n" for name in [*own_modules(), *HIDDEN]))
    spec.write_text(
        "import json\n"
        f"a = Analysis([{str(script)!r}], pathex=[{str(ROOT)!r}], excludes={EXCLUDED!r}, optimize=0)\n"
        "from PyInstaller.compat import PY3_BASE_MODULES\n"  # these it puts elsewhere, so they are not in a.pure
        "base = [(n.identifier, n.filename, '') for n in a.graph.nodes()\n"
        "        if str(n.identifier).split('.')[0] in PY3_BASE_MODULES and n.filename]\n"
        "builtin = sorted(n.identifier for n in a.graph.nodes() if type(n).__name__ == 'BuiltinModule')\n"
        "found = {'pure': a.pure + base, 'binaries': a.binaries, 'builtin': builtin}\n"
        f"json.dump(found, open({str(answer)!r}, 'w'))\n"
    )
    command = [sys.executable, "-m", "PyInstaller", "--log-level=WARN", "--noconfirm"]
    command += [f"--workpath={work / 'scratch'}", f"--distpath={work / 'dist'}", str(spec)]
    environment = {
        **os.environ,
        "PYINSTALLER_CONFIG_DIR": str(work / "config"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise LlamafileError(f"PyInstaller: the analysis failed; its last words: {done.stderr.strip()[-2000:]}")
    found = json.loads(answer.read_text())
    return _sort(found["pure"], found["binaries"], found["builtin"])


def _sort(pure: list[list[str]], binaries: list[list[str]], builtin: list[str]) -> Collection:
    modules = {name: Path(path) for name, path, _ in sorted(pure) if path and path.endswith(".py") and _is_kept(name)}
    extensions, libraries = {}, {}
    for name, path, kind in sorted(binaries):
        if kind == "EXTENSION":
            extensions[_extension_module(name)] = Path(path)
        elif kind == "BINARY" and not os.path.basename(name).startswith("libpython"):
            libraries[os.path.basename(name)] = Path(path)
    return Collection(modules, extensions, libraries, [name for name in builtin if name not in EXCLUDED])


def _is_kept(module: str) -> bool:
    package, _, name = module.rpartition(".")
    return module.partition(".")[0] not in EXCLUDED and (package not in SOME_OF or name in SOME_OF[package])


def _extension_module(name: str) -> str:
    """`python3.11/lib-dynload/math.cpython-311-x86_64-linux-gnu.so` is math, `isal/isal_zlib.….so` isal.isal_zlib."""
    folder, file = os.path.split(name)
    module = file.split(".", 1)[0]
    return module if not folder or folder.endswith("lib-dynload") else f"{folder.replace('/', '.')}.{module}"


def for_library(found: Collection, standard: Path, inside: Container[str]) -> Collection:
    """The collection with another standard library of this version: its sources, none of this one's extensions.

    Raises LlamafileError for modules in C that were found and are not `inside` that one."""
    here = Path(sysconfig.get_path("stdlib"))
    if here.samefile(standard):
        return found
    in_c = [*found.builtin, *(name for name, path in found.extensions.items() if "lib-dynload" in path.parts)]
    missing = [name for name in in_c if name not in inside and name not in DONE_WITHOUT]
    if missing:
        names = " ".join(missing)
        raise LlamafileError(f"{standard}: its Python has no {names}; add to MODULES in llamafile/freeze/cpython.py")
    modules = {}
    for name, path in found.modules.items():
        ours = here in path.parents and "site-packages" not in path.parts
        there = standard / path.relative_to(here) if ours else path
        if there.is_file():  # modules of this installation, as its build settings, have no twin
            modules[name] = there
    extensions = {name: path for name, path in found.extensions.items() if "lib-dynload" not in path.parts}
    return Collection(modules, extensions, found.libraries, found.builtin)


def data_members() -> dict[str, bytes]:
    """What the packages read that is no Python: sources for GPU modules, pages, texts, by the names they have here."""
    members = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not name.startswith(CHECKOUT_ONLY) and _is_data(name):
                members[name] = path.read_bytes()
    for path in sorted(write_headers().glob("*.h")):  # of the declarations, which are Python and stay here
        members[f"gpu_modules/generated/{path.name}"] = path.read_bytes()
    return members


def _is_data(name: str) -> bool:
    suffix = name.rpartition(".")[2]
    if name.startswith("gpu_modules/"):
        return suffix not in ("py", "pyc", "so")
    if name.startswith("runtime/"):  # GPU modules are compiled against these
        return suffix == "h" and not name.startswith("runtime/launcher/")
    return suffix in ("html", "css", "js", "svg", "txt", "1", "jinja")

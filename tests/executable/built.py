"""Builds the executable once, and makes copies of it that run a test's own Python."""

from __future__ import annotations

import functools
import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

from llamafile.freeze import bytecode
from zipalign.sources import Entry
from zipalign.writer import append

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = os.environ.get("LLAMAFILE_TEST_ENGINE")  # another executable to test than build/llamafile, as the release
BUILT = Path(CHOSEN).resolve() if CHOSEN else ROOT / "build" / "llamafile"
PACKAGES = ("llamafile", "zipalign", "runtime", "gpu_modules")

# Takes the place of llamafile.__main__ in a copy: `-c TEXT` is run as Python, all else goes to the program itself.
PROBE = """
import sys
def main():
    if sys.argv[1:2] == ["-c"]:
        exec(compile(sys.argv[2], "probe", "exec"), {"__name__": "probe"})
        return 0
    from llamafile import program_itself
    return program_itself.main()
"""

# The program itself, which stops behind its third word: it reports on the standard error, and waits for a line.
STOPPED = """
import os, sys
try:
    from llamafile import program_itself as program
except ImportError:
    from llamafile import __main__ as program
from llamafile.cli import output
ordinary, calls = output.Output.write, []
def write(self, data, *more):
    ordinary(self, data, *more)
    calls.append(data)
    if len(calls) == 3:
        os.write(2, (REPORT() + "\\n").encode())
        os.read(0, 100)
output.Output.write = write
sys.exit(program.main(WORDS))
"""


@functools.cache
def executable() -> Path:
    """The path of build/llamafile, which is built here unless it is newer than every source, or the chosen one."""
    if CHOSEN:
        return BUILT
    newest = max(path.stat().st_mtime for package in PACKAGES for path in _sources(ROOT / package))
    if not BUILT.exists() or BUILT.stat().st_mtime < newest:
        command = [sys.executable, "-m", "llamafile.freeze", "--output", str(BUILT)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return BUILT


def _sources(folder: Path):
    suffixes = (".py", ".c", ".h", ".cu", ".m", ".metal", ".ts", ".tsx", ".css")
    return (path for path in folder.rglob("*") if path.suffix in suffixes)


def probe(folder: Path, engine: Path | None = None) -> Path:
    """A copy of the executable in folder that runs `-c TEXT`."""
    target = folder / "probe"
    shutil.copyfile(engine or executable(), target)
    target.chmod(0o755)
    itself = bytecode.compile_all({"llamafile.program_itself": ROOT / "llamafile" / "__main__.py"}, [sys.executable])
    append(
        target,
        [
            Entry("py/llamafile/__main__.pyc", pyc(PROBE, "llamafile/__main__.py"), align=1),
            Entry("py/llamafile/program_itself.pyc", *itself.values(), align=1),
        ],
    )
    return target


def stopped(words: list[str], report: str) -> str:
    """Python that runs the program with these words and stops it in the middle; `report` is what it evaluates then."""
    return f"WORDS = {words!r}\ndef REPORT(): return {report}\n{STOPPED}"


def pyc(text: str, name: str) -> bytes:
    """The bytes of a .pyc of that source."""
    code = compile(text, name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def run(*command: object, **more) -> subprocess.CompletedProcess[str]:
    """Run a command without a shell; text of both outputs is kept."""
    settings = {"capture_output": True, "text": True, "timeout": 300, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run([os.fspath(word) for word in command], **settings)

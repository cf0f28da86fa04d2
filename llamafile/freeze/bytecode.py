"""Compiles collected sources to the bytes of .pyc files that are the same on every machine and every day."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from llamafile.errors import LlamafileError
from llamafile.freeze.collect import PACKAGES

# Runs in the interpreter the modules are for, which may have nothing but its standard library. A line comes in for each
# module: optimisation level, name of the source in tracebacks, path. A .pyc goes out for each, behind its length. The
# second dump makes marshal's reference flags, which follow from reference counts, those of a freshly read file.
_CHILD = """
import sys, marshal, importlib.util
for line in sys.stdin.buffer.read().decode().splitlines():
    level, name, path = line.split("\\t")
    source = open(path, "rb").read()
    code = compile(source, name, "exec", dont_inherit=True, optimize=int(level))
    body = marshal.dumps(marshal.loads(marshal.dumps(code)))
    data = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + body
    sys.stdout.buffer.write(len(data).to_bytes(8, "little") + data)
"""


def member_name(module: str, source: Path) -> str:
    """`a.b` in b.py is `py/a/b.pyc`, in b/__init__.py `py/a/b/__init__.pyc`."""
    stem = module.replace(".", "/")
    return f"py/{stem}/__init__.pyc" if source.name == "__init__.py" else f"py/{stem}.pyc"


def compile_all(modules: dict[str, Path], python: list[str]) -> dict[str, bytes]:
    """Member name → .pyc bytes (unchecked hash), compiled by the command python.

    Without column tables, a fifth of the size. Ours keep asserts and docstrings, which click shows; others lose both.
    """
    names = {module: member_name(module, path) for module, path in sorted(modules.items())}
    lines = []
    for module, member in names.items():
        level = 0 if module.split(".")[0] in PACKAGES else 2
        lines.append(f"{level}\t{member[3:-1]}\t{modules[module]}\n")
    # Sets of constants are marshalled in the order of their hashes; -I would ignore the variable that fixes it.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONNODEBUGRANGES": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*python, "-s", "-S", "-c", _CHILD], input="".join(lines).encode(), capture_output=True, env=environment
    )
    if done.returncode:
        raise LlamafileError(f"{python[0]}: cannot compile the modules; {done.stderr.decode(errors='replace')[-2000:]}")
    return dict(zip(names.values(), _split(done.stdout), strict=True))


def _split(answer: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(answer):
        size = int.from_bytes(answer[at : at + 8], "little")
        parts.append(answer[at + 8 : at + 8 + size])
        at += 8 + size
    return parts

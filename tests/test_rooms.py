"""The shape of the source: imports point one way, ops have their kernels beside them, the way to a token is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.ops import OPS

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "zipalign": {"zipalign"},
    "runtime": {"runtime"},
    "gpu_modules": {"gpu_modules", "runtime"},
    "llamafile": {"llamafile", "gpu_modules", "runtime", "zipalign"},
}


def imported(path):
    """The first parts of the names that a file imports absolutely."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        upward = set(imported(path)) & (set(MAY_IMPORT) | {"tests"}) - MAY_IMPORT[room]
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


def test_every_op_has_its_kernel_in_the_file_of_the_same_stem():
    for op in OPS.values():
        source = ROOT / "runtime" / "ops" / (op.reference.__module__.rpartition(".")[2] + ".c")
        text = source.read_text()
        assert f"lf_{op.name}(const lf_call" in text or re.search(rf"^LF_[A-Z]+\({op.name},", text, re.M), (
            f"{op.name}: {source.name}")


def test_the_ops_of_the_cpu_alone_come_last():
    """GPU modules know the opcodes before them."""
    alone = [op.code for op in OPS.values() if op.reference.__module__ == "runtime.ops.seams"]
    assert alone == list(range(len(OPS) - len(alone), len(OPS)))


# What may be imported between exec and the first token besides our own modules: builtin or frozen in every interpreter.
LIGHT = {"mmap", "_struct", "struct", "_cffi_backend", "math", "time", "zlib", "fcntl"}

FIRST_TOKEN = """
import sys
import os
before = set(sys.modules)
from llamafile.model import Model
from llamafile.sampling import Params, Sampler
model = Model.open(sys.argv[1])
session = model.session(512)
session.sync(model.tokenizer.encode("The capital of France is"))
sampler = Sampler(Params(temperature=0.0), model.n_vocab, 512)
token = sampler.sample(session.logits)
assert model.tokenizer.piece(token)
new = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(" ".join(new))
"""


@pytest.mark.models
def test_nothing_heavy_is_imported_before_the_first_token(smollm2):
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{FIRST_TOKEN}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, smollm2], capture_output=True, text=True, cwd=ROOT)
    assert not done.returncode, done.stderr
    foreign = set(done.stdout.split()) - {"llamafile", "runtime", "zipalign", "gpu_modules", "__future__"} - LIGHT
    assert not foreign, f"imported on the way to the first token: {sorted(foreign)}"

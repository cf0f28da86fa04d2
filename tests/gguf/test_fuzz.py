"""Mutated files never crash the reader, and are opened or refused in one line: C built with ASan and UBSan."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llamafile.build import native
from runtime import build as machine
from tests.weights import Unavailable, fetch

from .craft import EVERY_TYPE, TWO_TENSORS, craft

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sanitized():
    """Build llamafile._native with the sanitizers; return its folder and the environment that loads it."""
    folder = machine.build(native(), sanitize=True).parent
    library = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    return folder, {
        **os.environ, "LD_PRELOAD": library.strip(), "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=0:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }  # fmt: skip


def run(sanitized, seed, count, paths):
    """Fuzz in a process of its own; return how many mutations opened and how many were refused."""
    folder, environment = sanitized
    done = subprocess.run([sys.executable, "-m", "tests.gguf.fuzz", folder, str(seed), str(count), *paths], cwd=ROOT,
                          env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-5000:]
    return ast.literal_eval(done.stdout)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_mutations_of_a_made_file(sanitized, tmp_path, version):
    laid_out = ("blk.2.weight", 2050, (64, 16), bytes(576))
    (tmp_path / "a.gguf").write_bytes(craft(EVERY_TYPE, [*TWO_TENSORS, laid_out], version))
    counted = run(sanitized, version, 200, [tmp_path / "a.gguf"])
    assert counted["opened"] + counted["refused"] == 200
    assert min(counted.values()) > 10


def real(*names):
    try:
        return [fetch(name) for name in names]
    except Unavailable as problem:
        pytest.skip(str(problem))


@pytest.mark.models
def test_some_mutations_of_a_real_file(sanitized):
    counted = run(sanitized, 11, 200, real("tinycoder"))
    assert counted["opened"] + counted["refused"] == 200
    assert min(counted.values()) > 10


@pytest.mark.long
@pytest.mark.models
@pytest.mark.parametrize("seed", range(5))
def test_10000_mutations_of_real_files(sanitized, seed):
    counted = run(sanitized, seed, 1000, real("smollm2", "tinycoder"))
    assert counted["opened"] + counted["refused"] == 2000
    assert min(counted.values()) > 100


def test_the_sanitizer_is_at_work(sanitized):
    """A read behind an allocation ends the process: else the tests above show nothing."""
    folder, environment = sanitized
    bad = f"import llamafile; llamafile.__path__.insert(0, {str(folder)!r})\n" + """
from llamafile._native import ffi, lib
memory = ffi.new("uint8_t[]", 24)
lib.lf_gguf_skip_strings(memory, 4096, 16, 2, 8)
"""
    done = subprocess.run([sys.executable, "-c", bad], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 99 and "AddressSanitizer" in done.stderr, done.stderr[-2000:]

"""The generated header read by other compilers: as C++, as CUDA, and as Metal through a stand-in for its header."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from .cases import COMPUTED, QUANTS, decode, random_blocks, same
from .conftest import HERE

WRAPPERS = '#include "formats.h"\n#define X(name, NAME, block) extern "C" {q}void test_decode_##name(const void *b, '
WRAPPERS += "float *y) {{ lf_decode_##name((const lf_##name *)b, y); }}\nLF_FORMATS(X)\n"


def build(folder, generated, command, text, name):
    """Compile a text with the header's folder known; return the output's path."""
    source, target = folder / name, folder / (name + ".out")
    source.write_text(text)
    done = subprocess.run([*command, f"-I{generated}", str(source), "-o", str(target)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return target


@pytest.mark.parametrize("dialect", ["c++", "metal"])
def test_decodes_alike(dialect, generated, tmp_path, find_program):
    command = [find_program("c++"), "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared",
               "-fPIC"]
    if dialect == "metal":
        command += ["-D__METAL_VERSION__=310", f"-I{HERE / 'metal'}"]
    lib = ctypes.CDLL(str(build(tmp_path, generated, command, WRAPPERS.format(q=""), "decode.cpp")))
    for format in COMPUTED:
        blocks = random_blocks(format, 200, seed=4)
        out = np.empty((200, format.block), "f4")
        for i in range(200):
            getattr(lib, f"test_decode_{format.name}")(
                ctypes.c_void_p(blocks[i].ctypes.data), ctypes.c_void_p(out[i].ctypes.data))
        assert same(out, decode(format, blocks)), format


def test_compiles_as_cuda(generated, tmp_path, find_program):
    target = build(tmp_path, generated, [find_program("nvcc"), "-Werror", "all-warnings", "-cubin", "-arch=sm_80"],
                   WRAPPERS.format(q="__global__ "), "decode.cu")
    code = target.read_bytes()
    assert all(f"test_decode_{f.name}".encode() in code for f in QUANTS)

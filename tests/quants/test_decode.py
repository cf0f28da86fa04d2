"""Decode in numpy and in C, and the integer form, against the gguf package: bit for bit."""

from __future__ import annotations

import ctypes
import subprocess

import gguf
import numpy as np
import pytest

from runtime._core import ffi, lib
from runtime.quants import FORMATS

from .cases import COMPUTED, QUANTS, decode, random_blocks, same

BLOCKS = 2000


def pointer(array):
    """An array's address for ctypes."""
    return ctypes.c_void_p(array.ctypes.data)


def oracle(format, blocks):
    """What the gguf package decodes, float32 [blocks, block]."""
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(format.id)).reshape(-1, format.block)


@pytest.mark.parametrize("format", COMPUTED, ids=repr)
def test_numpy_and_c_decode_as_gguf_does(format):
    blocks = random_blocks(format, BLOCKS)
    want = oracle(format, blocks)
    assert np.isfinite(want).mean() > 0.5
    assert format.decode(blocks).dtype == np.float32
    assert same(format.decode(blocks), want)
    assert same(format.decode(blocks.tobytes()), want)
    assert same(decode(format, blocks), want)


@pytest.mark.parametrize("format", COMPUTED, ids=repr)
def test_inline_decode_at_odd_addresses(format, clib):
    blocks = random_blocks(format, 50, seed=1)
    shifted = np.zeros(blocks.size + 1, "u1")[1:]
    shifted[:] = blocks.reshape(-1)
    out = np.empty((50, format.block), "f4")
    for i in range(50):
        getattr(clib, f"test_decode_{format.name}")(pointer(shifted[i * format.size :]), pointer(out[i]))
    assert same(out, oracle(format, blocks))


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_integer_form_multiplied_out_is_the_decode(format, clib):
    """scale[g] * q[i] + bias[g] in float32, each operation rounded, has the oracle's bits; q stays within int8."""
    blocks = random_blocks(format, 300, seed=2)
    groups = format.block // format.group
    q = np.full((300, format.block), 99, "i1")
    scale, bias = np.full((300, groups), 7, "f4"), np.zeros((300, groups), "f4")
    for i in range(300):
        unpack = getattr(clib, f"test_unpack_{format.name}")
        unpack(pointer(blocks[i]), pointer(q[i]), pointer(scale[i]), pointer(bias[i]))
    assert format.biased or not bias.any()
    if format.biased:
        assert q.min() >= 0
    if format.name != "q8_0":
        assert abs(q.astype(int)).max() <= 127
    with np.errstate(all="ignore"):
        y = scale[..., None] * q.reshape(300, groups, -1).astype("f4")
        y = y + bias[..., None] if format.biased else y
    assert same(y, oracle(format, blocks))


def test_all_halves_both_ways(clib):
    codes = np.arange(65536, dtype="<u2")
    values = codes.view("f2").astype("f4")
    assert same(np.array([clib.test_half(int(c)) for c in codes], "f4"), values)
    assert same(decode(FORMATS["f16"], codes.view("u1")), values)
    back = [clib.test_to_half(float(v)) for v in values[np.isfinite(values)]]
    assert back == codes[np.isfinite(values)].tolist()
    assert clib.test_to_half(float("nan")) & 0x7FFF > 0x7C00
    assert [clib.test_to_half(v) for v in (float("inf"), float("-inf"), 65520.0, 1e30)] == [31744, 64512, 31744, 31744]


def test_rounding_to_half_is_numpys(clib):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 1 << 32, 20000, dtype="u4").view("f4")
    exact = rng.integers(0, 0x7BFF, 4000).astype("<u2")
    ties = (exact.view("f2").astype("f4") + (exact + 1).view("f2").astype("f4")) / 2
    x = np.concatenate([x[np.isfinite(x)], ties, np.nextafter(ties, 0), np.nextafter(ties, np.float32(1e9))])
    with np.errstate(over="ignore"):
        want = x.astype("f2").view("u2")
    assert [clib.test_to_half(float(v)) for v in x] == want.tolist()


def test_errors_of_the_row_functions():
    packed, out = ffi.new("uint8_t[64]"), ffi.new("float[64]")
    for format in (-1, 4, 16, 26, 99, 1 << 30):
        assert lib.lf_decode_rows(format, packed, out, 32) == lib.LF_UNKNOWN_FORMAT
        assert lib.lf_encode_rows(format, out, packed, 32) == lib.LF_UNKNOWN_FORMAT
    for n in (-32, 1, 31, 33):
        assert lib.lf_decode_rows(2, packed, out, n) == lib.LF_BROKEN_BLOCK
        assert lib.lf_encode_rows(2, out, packed, n) == lib.LF_BROKEN_BLOCK
    assert lib.lf_decode_rows(0, packed, out, -1) == lib.LF_BROKEN_BLOCK
    assert lib.lf_decode_rows(2, packed, out, 0) == 0
    assert lib.lf_encode_rows(2, out, packed, 0) == 0


def test_under_sanitizers_and_instruction_sets(compile_quants, tmp_path):
    """Every function over random and extreme blocks in tight buffers; any flags give the same bytes."""
    flags = {"sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], "plain": ["-O2"]}
    with open("/proc/cpuinfo") as file:
        if " f16c " in file.read():
            flags["f16c"] = ["-O3", "-mavx2", "-mf16c", "-mfma"]
    said = {}
    for name, extra in flags.items():
        program = compile_quants(tmp_path / name, "-DTEST_MAIN", *extra)
        done = subprocess.run([program], capture_output=True, text=True)
        assert not done.returncode, f"{name}: {done.returncode} {done.stderr[-2000:]}"
        said[name] = done.stdout
    assert len(said["plain"].splitlines()) == len(COMPUTED)
    assert set(said.values()) == {said["plain"]}

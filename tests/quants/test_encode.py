"""Encoders: what they lose, next to the gguf package, to llama.cpp and to an exhaustive search; awkward input."""

from __future__ import annotations

import ctypes

import gguf
import numpy as np
import pytest

from runtime._core import lib
from runtime.quants import FORMATS
from tests.oracles import llama_cpp
from tests.weights import Unavailable, fetch

from .cases import COMPUTED, QUANTS, decode, encode, tame_blocks

#: The largest relative RMS error on Gaussian numbers, 1.5 % above what was measured when the encoders were written.
GAUSSIAN = {"q4_0": 0.0823, "q4_1": 0.0708, "q5_0": 0.0407, "q5_1": 0.0342, "q8_0": 0.00545, "q2_k": 0.2675,
            "q3_k": 0.1459, "q4_k": 0.0712, "q5_k": 0.0351, "q6_k": 0.0172, "iq4_nl": 0.0745, "iq4_xs": 0.0751,
            "mxfp4": 0.1132}


def gaussian(n=1 << 16, seed=0):
    """Numbers as weights often are."""
    return (np.random.default_rng(seed).standard_normal(n) * 0.02).astype("f4")


def heavy(n=1 << 16):
    """Numbers with outliers (Student's t with four degrees of freedom)."""
    return (np.random.default_rng(5).standard_t(4, n) * 0.02).astype("f4")


@pytest.fixture(scope="module")
def weights():
    """Rows of SmolLM2's embedding (8 bits in the file) and of a projection (4 bits), by name."""
    try:
        reader = gguf.GGUFReader(fetch("smollm2"))
    except Unavailable as problem:
        pytest.skip(str(problem))
    found = {}
    for tensor in reader.tensors:
        if tensor.name in ("token_embd.weight", "blk.5.ffn_down.weight"):
            rows = gguf.quants.dequantize(tensor.data[:64], tensor.tensor_type)
            found[tensor.name] = np.ascontiguousarray(rows.reshape(-1)[: rows.size // 256 * 256])
    return found


@pytest.fixture(scope="module")
def ggml():
    """ggml's own encoder: (format, x) → bytes."""
    try:
        path = llama_cpp.ensure() / "libggml-base.so"
    except Unavailable as problem:
        pytest.skip(str(problem))
    chunk = ctypes.CDLL(str(path)).ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]

    def encode_with(format, x):
        out = np.zeros(x.size // format.block * format.size, "u1")
        assert chunk(format.id, x.ctypes.data, out.ctypes.data, 0, x.size // 256, 256, None) == out.size
        return out

    return encode_with


def loss(format, packed, x):
    """The root mean square error relative to the numbers' own."""
    error = decode(format, packed).astype("f8") - x
    return float(np.sqrt((error**2).mean() / (x.astype("f8") ** 2).mean()))


def our_loss(format, x):
    """The same for our encoder."""
    done, packed = encode(format, x)
    assert done == x.size
    return loss(format, packed, x)


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_loses_no_more_than_when_written(format):
    assert our_loss(format, gaussian()) < GAUSSIAN[format.name]


@pytest.mark.parametrize("name", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4"])
def test_loses_no_more_than_the_gguf_package(name, weights):
    format = FORMATS[name]
    for x in (gaussian(), heavy(), *weights.values()):
        theirs = gguf.quants.quantize(x.reshape(-1, 256), gguf.GGMLQuantizationType(format.id)).reshape(-1)
        assert our_loss(format, x) <= loss(format, theirs, x) * (1 + 1e-6)


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_loses_no_more_than_llama_cpp(format, weights, ggml):
    for x in (gaussian(), heavy(), *weights.values()):
        assert our_loss(format, x) <= loss(format, ggml(format, x), x) * (1 + 1e-6)


@pytest.mark.parametrize(("name", "low", "high"), [("q4_0", -8, 7), ("q5_0", -16, 15)])
def test_one_scale_is_nearly_the_best_there_is(name, low, high):
    """Against every float16 scale of a plausible size, for 24 blocks: at most 0.5 % more squared error altogether."""
    format, x = FORMATS[name], gaussian(24 * 32, seed=6).reshape(24, 32)
    halves = np.arange(0x7C00, dtype="<u2").view("f2").astype("f4")
    ours = best = 0.0
    for block in x:
        most = abs(block).max()
        scales = halves[(halves > most / -low / 2) & (halves < most / high * 1.6)]
        scales = np.concatenate([scales, -scales])[:, None]
        error = ((np.rint(block / scales).clip(low, high) * scales - block) ** 2).sum(1)
        best += error.min()
        ours += float(((decode(format, encode(format, block)[1]) - block) ** 2).sum())
    assert best <= ours * (1 + 1e-6)
    assert ours <= best * 1.005


def test_scale_and_minimum_are_nearly_the_best_there_is():
    """Q4_1 against a fine grid of lines, for 16 blocks: at most 3 % more squared error altogether."""
    format, x = FORMATS["q4_1"], gaussian(16 * 32, seed=7).reshape(16, 32)
    ours = best = 0.0
    for block in x:
        low, span = block.min(), np.ptp(block)
        scale = (span / 15 * np.linspace(0.7, 1.1, 250))[:, None, None]
        bias = (low + span / 15 * np.linspace(-0.7, 2.5, 250))[None, :, None]
        q = np.rint((block - bias) / scale).clip(0, 15)
        mean, centred = q.mean(-1, keepdims=True), block - block.mean()
        spread = ((q - mean) ** 2).sum(-1)
        slope = ((q - mean) * centred).sum(-1) / np.where(spread > 0, spread, 1)
        best += float(((centred**2).sum() - slope**2 * spread).min())
        ours += float(((decode(format, encode(format, block)[1]) - block) ** 2).sum())
    assert ours <= best * 1.03


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_every_number_lands_near(format):
    """No number is further off than the block's largest, divided by the distance that its levels allow."""
    parts = {"q8_0": 254, "q6_k": 40, "q5_0": 20, "q5_1": 20, "q5_k": 20, "q3_k": 4, "q2_k": 2, "mxfp4": 4}
    for x in (gaussian(seed=8), heavy()):
        error = abs(decode(format, encode(format, x)[1]) - x).reshape(-1, format.block).max(1)
        assert (error <= abs(x).reshape(-1, format.block).max(1) * 2 / parts.get(format.name, 10) * 1.01).all()


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_encoding_again_changes_little(format):
    """What was decoded is representable: encoding it anew loses a small part of what the first time lost."""
    x = gaussian(seed=9)
    once = decode(format, encode(format, x)[1])
    assert our_loss(format, once) <= 0.5 * our_loss(format, x)


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_extreme_blocks(format):
    block = np.arange(format.block, dtype="f4") - format.block / 2
    flat, one = np.ones(format.block), np.eye(1, format.block)
    wide = block / format.block * 2 * 65504
    for x in (flat * 0, flat, flat * -3e-3, block * 1e-45, block * 1e-8, wide, one * 7, one * -7):
        x = np.asarray(x, "f4").reshape(-1)
        done, packed = encode(format, x)
        y = decode(format, packed)
        assert done == x.size
        assert np.isfinite(y).all()
        tiny = abs(x).max() < 1e-5  # half floats hardly hold such scales
        assert abs(y - x).max() <= (1e-5 if tiny else abs(x).max() * (0.51 if format.name == "q2_k" else 0.27))
    assert not decode(format, encode(format, np.zeros(format.block))[1]).any()


@pytest.mark.parametrize("format", COMPUTED, ids=repr)
def test_what_cannot_be_held_is_named_and_nothing_written(format):
    n = 4 * format.block + (256 if format.block == 1 else 0)
    for bad in (np.nan, np.inf, -np.inf, *([] if format.name in ("f32", "bf16") else [65520.0, -1e38])):
        for index in (0, n // 2, n - 1):
            x = gaussian(n)
            x[index] = bad
            done, packed = encode(format, x)
            assert (done, packed.any()) == (index, False)


def test_plain_formats_round_to_nearest_even():
    rng = np.random.default_rng(10)
    x = rng.integers(0, 1 << 32, 100000, dtype="u4").view("f4")
    x = x[np.isfinite(x) & (abs(x) < 65519)]
    assert (encode(FORMATS["f32"], x)[1].view("u4") == x.view("u4")).all()
    assert (encode(FORMATS["f16"], x)[1].view("u2") == x.astype("f2").view("u2")).all()
    assert (encode(FORMATS["bf16"], x)[1] == gguf.quants.quantize(x[None], gguf.GGMLQuantizationType.BF16)[0]).all()
    ties = (np.arange(0x3F80, 0x3FC0, dtype="u4") << 16 | 0x8000).view("f4")
    assert not (encode(FORMATS["bf16"], ties)[1].view("u2") & 1).any()


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_blocks_are_encoded_one_by_one(format):
    """A row's bytes do not depend on its neighbours: rows may be dealt to threads."""
    x = gaussian(8 * format.block, seed=11)
    apart = [encode(format, part)[1] for part in x.reshape(8, -1)]
    assert (np.concatenate(apart) == encode(format, x)[1]).all()


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_llama_cpps_decoder_reads_our_blocks(format, ggml):
    """Both decoders agree on blocks that we encoded and on random ones."""
    base = ctypes.CDLL(str(llama_cpp.ensure() / "libggml-base.so"))
    theirs = getattr(base, f"dequantize_row_{format.name}".replace("_k", "_K"))
    for packed in (encode(format, gaussian(2048))[1], tame_blocks(format, 64).reshape(-1)):
        want = np.empty(packed.size // format.size * format.block, "f4")
        theirs(ctypes.c_void_p(packed.ctypes.data), ctypes.c_void_p(want.ctypes.data), ctypes.c_int64(want.size))
        finite = np.isfinite(want)  # an MXFP4 scale of 2^128 overflows in both
        got = decode(format, packed)
        assert (np.isfinite(got) == finite).all()
        assert np.allclose(got[finite], want[finite], rtol=1e-6, atol=0)


def test_errors_are_constants():
    assert (lib.LF_UNKNOWN_FORMAT, lib.LF_BROKEN_BLOCK) == (-1, -2)

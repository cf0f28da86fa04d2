"""Formats laid out in panels: where each byte goes, that the way back gives all of them, single rows of a panel."""

from __future__ import annotations

import numpy as np
import pytest

from runtime._core import ffi, lib
from runtime.quants import BY_ID, FORMATS, laid_out, title

from .cases import QUANTS, decode, in_panels, random_blocks, same


def moved(format, source, panels, blocks, back):
    """What the C core makes of whole panels."""
    out = np.full(source.size, 0xA5, "u1")
    assert lib.lf_lay_out(format.id, ffi.from_buffer(source), ffi.from_buffer(out), panels, blocks, back) == 0
    return out


@pytest.mark.parametrize("format", QUANTS, ids=repr)
@pytest.mark.parametrize("blocks", [1, 2, 5, 18])
@pytest.mark.parametrize("panels", [1, 3])
def test_there_and_back(format, blocks, panels):
    plain = random_blocks(format, panels * 16 * blocks, seed=blocks).reshape(-1)
    laid = moved(format, plain, panels, blocks, 0)
    np.testing.assert_array_equal(laid, in_panels(format, plain, panels * 16))
    np.testing.assert_array_equal(moved(FORMATS[format.name + "_r16"], laid, panels, blocks, 1), plain)


@pytest.mark.parametrize("format", QUANTS, ids=repr)
def test_a_row_of_a_panel(format):
    plain = random_blocks(format, 16 * 3)
    laid, n = moved(format, plain.reshape(-1), 1, 3, 0), 3 * format.block
    want = decode(format, plain).reshape(16, n)
    for row in range(16):
        got = np.empty(n, "f4")
        code = lib.lf_decode_laid_row(format.id + 2048, ffi.from_buffer(laid), row, ffi.from_buffer("float[]", got), n)
        assert code == 0 and same(got, want[row])


def test_what_has_no_such_form():
    memory = ffi.new("char[]", 4096)
    for id in (0, 1, 30, 9, 99, 2048, 2048 + 9, 2048 + 99):
        assert lib.lf_lay_out(id, memory, memory, 1, 1, 0) == lib.LF_UNKNOWN_FORMAT
        assert lib.lf_decode_laid_row(id, memory, 0, ffi.new("float[]", 256), 256) == lib.LF_UNKNOWN_FORMAT
    assert lib.lf_decode_laid_row(2050, memory, 0, ffi.new("float[]", 256), 33) == lib.LF_BROKEN_BLOCK


def test_declarations():
    forms = {f.name: f for f in FORMATS.values() if f.plain}
    assert set(forms) == {f"{f.name}_r16" for f in QUANTS}
    for form in forms.values():
        plain = form.plain
        assert (form.id, form.block, form.size) == (plain.id + 2048, plain.block, plain.size)
        assert form.readable and not form.computed and BY_ID[form.id] is form
        assert laid_out.laid_out(plain) is form and laid_out.laid_out(form) is None
    assert title(2050) == "Q4_0_R16" and title(2048) == "format 2048"
    assert laid_out.laid_out(FORMATS["f16"]) is None and laid_out.laid_out(FORMATS["iq2_xs"]) is None


def test_which_tensors_fit():
    fits = laid_out.fits
    assert fits(FORMATS["q4_0"], (64, 32)) and fits(FORMATS["q6_k"], (256, 16, 5))
    assert not fits(FORMATS["q4_0"], (64,)) and not fits(FORMATS["q4_0"], (64, 24, 2))
    assert not fits(FORMATS["f32"], (64, 32)) and not fits(FORMATS["q4_0_r16"], (64, 32))

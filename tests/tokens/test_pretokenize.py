"""The pre-tokenizers cut text as the published patterns do."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafile._native import ffi, lib

from . import texts
from .oracles import PATTERNS, byte_alphabet, pre_tokenizer

ALPHABET = ("aAzZeEsStTdDmMlLvVrR'ſ’"
            " \t\n\r\u00a0\u3000\u2028\x0b\x1c\x85 0123456789²½Ⅷ٣१.,;:!?/\\-_$+<=>^~|`@#\"()[]{}*&%"
            "éÉßẞİıǅʰªº\u0301\u0308\u20dd\u0903ñжЖΩω\u1f7d\u03ce的一龥ࠀ가힣あンーｱＡａ０！、。‘‟😀\u200d\ufe0f\ue000\x00\x7f\u0378𝔘𐐀𞤀")


def number(pre):
    """Return the number of a pre-tokenizer by its name."""
    found = lib.lf_pre_number(pre.encode())
    assert found >= 0
    return found


def oracle(pre, text):
    """Return the words that the published patterns cut text into."""
    return [text[a:b] for _, (a, b) in pre_tokenizer(pre).pre_tokenize_str(text)] if text else []


def same(driver, pre, text):
    """Compare the words of a text."""
    got, want = driver.split(number(pre), text), oracle(pre, text)
    assert "".join(got) == text
    for i, (a, b) in enumerate(zip(got, want, strict=False)):
        assert a == b, (pre, got[max(0, i - 3) : i + 3], want[max(0, i - 3) : i + 3])
    assert len(got) == len(want)


CASES = (
    "", " ", "a", "'", "''", "'s'S'ſ'ſa'ſſ", "'t'T'tt'Tt", "'re'RE'rE'Re'r'rx", "'ve'VE'll'LL'lL'l'd'D'm'M'x",
    "x's x'S x'ſ x'LLy", "a 's 't", "' s", "'\ns", "  a", " \n a", " \n\n a", "\n \na", " \t\n\r\n  b", "a  ", "a \n",
    "a\n ", "\r\na", "\ta", "\t a", "\n\n", "\u3000a", "\u3000\u3000、", "\u3000、", "a\u3000", "\u00a0\u00a0x",
    "\u2028x", "1", "12", "123", "1234", "12345678", " 12 345", "a1b22c333d", "²½Ⅷ٣१1", "!a", "!!a", "! a", " !a",
    "?!\n\n/x", "!/\r\n/", "a/b//c", "$+<=>^~|`", "a`b", "ABc", "aBC", "ABC", "ABCdEF", "éÉé", "ßẞİıǅa", "AʰBªc",
    "AあB", "あABCa", "Aあ", "あ", "的A的a的", "\u0301", "\u0301a", "\u0301A", "\u0301AB c", "a\u0301", "A\u0301B",
    "\u0301\u0301.", ".\u0301.", "!\u0301a", "1\u0301", " \u0301", "가\u0301가", "一龥ࠀ가힣", "あンーｱ", "的あ的",
    "x的y", "Ａａ０！", "x\u0378y", "\x00\x1c\x85", "\ue000a", "😀a😀", "a\u200db", "HTTPServer's", "iPhone'S x",
    "don't DON'T", "x\r\r\n\ny", "   \r\n   ", "。。\n", "[a](b)", "#a#", "@x @y", "a_b-c", "\u1f7d\u03ce",
)


@pytest.mark.parametrize("pre", PATTERNS)
def test_cases(driver, pre):
    for case in CASES:
        same(driver, pre, case)
        for other in ("'s", " ", "\n", "1", "!", "a", "A", "的", "\u0301"):
            same(driver, pre, case + other)
            same(driver, pre, other + case)


@pytest.mark.parametrize("pre", PATTERNS)
def test_mixed_text(driver, pre):
    same(driver, pre, texts.mixed(150_000))
    same(driver, pre, texts.foreign(60_000, seed=3))


@pytest.mark.long
@pytest.mark.parametrize("pre", PATTERNS)
def test_five_megabytes(driver, pre):
    text = texts.mixed()
    for at in range(0, len(text), 100_000):
        same(driver, pre, text[at : at + 100_000])


@pytest.mark.parametrize("pre", ["gpt-2", "gpt-4o", "deepseek-v3", "deepseek-llm", "default"])
def test_every_character(driver, pre):
    known = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
    for at in range(0, len(known), 20_000):
        same(driver, pre, "".join(f"{c}a{c} 1" for c in known[at : at + 20_000 : 1 if pre == "gpt-4o" else 5]))


@pytest.mark.parametrize("pre", PATTERNS)
def test_random_text(driver, pre):
    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.sampled_from(ALPHABET), max_size=24) | st.text(max_size=12))
    def check(text):
        same(driver, pre, text.encode("utf-8", "replace").decode())

    check()


def test_runs_are_not_quadratic(driver):
    for pre in PATTERNS:
        for run in (" ", "a", "A", "あ", "\u0301", "1", ".", "\n", "\t", "'"):
            assert driver.split(number(pre), run * 200_000 + "x")


def test_names():
    names = []
    while lib.lf_pre_name(len(names)) != ffi.NULL:
        names.append(ffi.string(lib.lf_pre_name(len(names))).decode())
    assert set(PATTERNS) <= set(names) and len(set(names)) == len(names)
    assert all(lib.lf_pre_number(n.encode()) == i for i, n in enumerate(names))
    assert lib.lf_pre_number(b"nobody's") == -1
    assert lib.lf_pre_name(-1) == ffi.NULL
    assert len(set(byte_alphabet())) == 256

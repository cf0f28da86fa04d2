"""Unicode's normal form C, as Python's own unicodedata finds it."""

from __future__ import annotations

import random
import sys
import unicodedata

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer

from . import ggufs, texts

KNOWN = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
MARKS = [c for c in KNOWN if unicodedata.combining(c)]
JAMO = list(map(chr, (*range(0x1100, 0x1114), *range(0x1160, 0x1178), *range(0x11A6, 0x11C5), 0xAC00, 0xAC01, 0xD7A3)))
MADE = [c for c in KNOWN if unicodedata.decomposition(c)]


def same(driver, text):
    assert driver.compose(text) == unicodedata.normalize("NFC", text)


def test_every_character(driver):
    for form in ("NFC", "NFD"):
        same(driver, "".join(unicodedata.normalize(form, c) + "x" for c in KNOWN))
        same(driver, "".join(unicodedata.normalize(form, c) + "\u0323\u0301" for c in KNOWN[::7] + MADE))


def test_random_text(driver):
    chance = random.Random(3)
    for _ in range(2000):
        pool = chance.choice((MARKS, JAMO, MADE, KNOWN, MARKS + JAMO + MADE))
        same(driver, "".join(chance.choice((chance.choice(pool), chance.choice("aeo A1\u00e9"))) for _ in range(20)))

    @settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.sampled_from(MARKS[:40] + JAMO[::5] + MADE[:300] + list("aeiou")), max_size=40))
    def run(text):
        same(driver, text)

    run()


def test_mixed_text(driver):
    known = set(KNOWN)
    same(driver, "".join(c for c in texts.foreign(300_000, seed=23) if c in known))
    same(driver, unicodedata.normalize("NFD", "".join(c for c in texts.mixed(300_000) if c in known)))


def test_long_runs_of_marks_are_not_quadratic(driver):
    """Python's own is, so it sees short ones."""
    chance = random.Random(4)
    same(driver, "a" + "".join(chance.choices(MARKS, k=3000)))
    same(driver, "\u1100\u1161\u11a8" * 50_000 + "\u0301" * 2000)
    same(driver, "")
    marks = chance.choices([m for m in MARKS if not unicodedata.decomposition(m)], k=300_000)
    assert list(driver.compose("1" + "".join(marks))) == ["1", *sorted(marks, key=unicodedata.combining)]


def test_models_that_compose():
    with open_path(ggufs.real("qwen0.5b")) as file:
        qwen = Tokenizer(file)
        assert qwen.encode("cafe\u0301 \u1112\u1161\u11ab") == qwen.encode("café 한")
        assert qwen.detokenize(qwen.encode("e\u0301<|im_end|>\u0301")) == "é\u0301".encode()
    with open_path(ggufs.real("smollm2")) as file:
        assert Tokenizer(file).encode("cafe\u0301") != Tokenizer(file).encode("café")

"""Thoughts and answer are told apart however the text is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafile.chat.thoughts import Thoughts


def parted(text, cuts=(), prompt=""):
    """The thoughts and the answer in a text that comes in pieces."""
    thoughts, kinds = Thoughts(prompt), {"thought": "", "answer": ""}
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        for kind, part in thoughts.feed(text[start:end]):
            kinds[kind] += part
    for kind, part in thoughts.flush():
        kinds[kind] += part
    return kinds["thought"], kinds["answer"]


CASES = [
    ("hello", "", "", "hello"),
    ("  hello <think>no</think>", "", "", "  hello <think>no</think>"),
    ("<think>\nhm, a < b\n</think>\n\nYes <think>.", "", "hm, a < b", "Yes <think>."),
    ("\n<think></think>ok", "", "", "ok"),
    ("hm</think>\nok", "<|assistant|>\n<think>\n", "hm", "ok"),
    ("<think>without end", "", "without end", ""),
    ("<thi", "", "", "<thi"),
    ("<thirst", "", "", "<thirst"),
    ("[THINK]a[/THINK]b", "", "a", "b"),
    ("", "", "", ""),
]


@pytest.mark.parametrize(("text", "prompt", "thought", "answer"), CASES)
@given(cuts=st.lists(st.integers(0, 60)))
def test_thoughts(text, prompt, thought, answer, cuts):
    assert parted(text, cuts, prompt) == (thought, answer)

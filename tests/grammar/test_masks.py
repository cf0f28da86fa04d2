"""Masks are exact: a token is allowed if and only if its bytes can come, over whole vocabularies."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from llamafile._native import ffi
from llamafile.errors import LlamafileError
from llamafile.grammar import compile

from .test_gbnf import GRAMMARS
from .walks import Masks

MORE = {
    "bounded": 'root ::= "\\"" [^"\\\\]{0,20} "\\"" "," root | [a-zé]{3,8} | ([0-9a-f]{2} " "){5,200}',
    "lines": 'root ::= (.{5,30} "\\n"){2}',
    "left": 'root ::= root "," w | w\nw ::= [a-z]+ | "(" root ")"',
    "anything": "root ::= .*",
    "ambiguous": 'root ::= (a | b | "x" | [a-z ]{2})*\na ::= [a-z]* " "\nb ::= ("x" | "xx") b | "y"',
    "bytes": 'root ::= [\\U00000080-\\U000007ff]{2,6} | [\\u0800-\\uffff]+ | "\\U0001F600\\U0001F601"',
    "empty": 'root ::= "" | "a"? "b"?',
}
CASES = {**GRAMMARS, **MORE}


def brute(matcher, tokenizer):
    """The ids that a matcher accepts, by trying each."""
    found = []
    for id in range(tokenizer.n_vocab):
        twin = matcher.clone()
        try:
            twin.accept(id)
        except ValueError:
            continue
        found.append(id)
    return found


def compare(name, tokenizer, steps, seed):
    chance, masks, matcher = (
        np.random.default_rng(seed),
        Masks(tokenizer),
        compile("gbnf", CASES[name], tokenizer).matcher(),
    )
    for step in range(steps):
        allowed, expected = masks.ids(matcher).tolist(), brute(matcher, tokenizer)
        assert allowed == expected, f"{name}, step {step}: {set(allowed) ^ set(expected)}"
        assert (set(allowed) & tokenizer.eog == tokenizer.eog) is matcher.may_end
        assert matcher.finished is (bool(allowed) and set(allowed) <= tokenizer.eog)
        rest = [i for i in allowed if i not in tokenizer.eog]
        if not rest:
            break
        # Short tokens more often than their number says: they lead to the middle of characters and words.
        short = [i for i in rest if len(tokenizer.piece(i)) < 3]
        matcher.accept(int(chance.choice(short if short and chance.random() < 0.5 else rest)))


@pytest.mark.models
@pytest.mark.parametrize("name", CASES)
def test_exact_over_49152_tokens(name, smol):
    compare(name, smol, 7, 1)


@pytest.mark.models
@pytest.mark.parametrize("name", ["json", "bounded", "anything", "bytes"])
def test_exact_over_151669_tokens(name, qwen):
    compare(name, qwen, 5, 2)


@pytest.mark.models
@pytest.mark.parametrize("name", ["json", "bytes", "lines"])
def test_exact_over_byte_fallback(name, spm):
    compare(name, spm, 8, 3)


@pytest.mark.models
def test_bytes_of_one_character_come_in_turn(spm):
    """A character that the vocabulary has in bytes only is written by its byte tokens."""
    masks, matcher = Masks(spm), compile("gbnf", 'root ::= "🜁"', spm).matcher()
    for byte in "🜁".encode():
        assert list(masks.ids(matcher)) == [spm.token_id(f"<0x{byte:02X}>")]
        matcher.accept(spm.token_id(f"<0x{byte:02X}>"))
    assert matcher.finished and set(masks.ids(matcher)) == spm.eog


@pytest.mark.models
def test_control_tokens_never_come_as_text(smol):
    control = {i for i in range(smol.n_vocab) if smol.is_control(i)}
    allowed = set(Masks(smol).ids(compile("gbnf", 'root ::= .* "<|im_start|>"', smol).matcher()))
    assert not allowed & control and len(allowed) > 49_000


@pytest.mark.models
def test_places_are_independent(smol):
    grammar, masks = compile("gbnf", GRAMMARS["json"], smol), Masks(smol)
    one = grammar.matcher()
    one.accept_bytes(b'{"a')
    two = one.clone()
    assert two.accept_bytes(b'": 1}') and two.may_end and not one.may_end
    assert not one.accept_bytes(b'": x') and one.accept_bytes(b'": 2')
    with pytest.raises(ValueError, match="token 1 does not follow"):
        two.accept(1)
    end = next(iter(smol.eog))
    two.accept(end)
    assert two.finished and set(masks.ids(two)) == smol.eog
    two.accept(end)
    with pytest.raises(ValueError, match="does not follow"):
        one.accept(end)
    for strange in (-1, smol.n_vocab, 2**31 - 1):
        with pytest.raises(ValueError, match="does not follow"):
            one.accept(strange)
    one.reset()
    assert not one.accept_bytes(b"x") and one.accept_bytes(b"{")


@pytest.mark.models
def test_masks_of_other_lengths(smol):
    matcher = compile("gbnf", 'root ::= "a"', smol).matcher()
    longer = ffi.new("uint32_t[]", [0xFFFFFFFF] * 1600)
    matcher.fill(longer)
    assert sum(longer) == 1 << smol.token_id("a") % 32
    with pytest.raises(ValueError, match="too short"):
        matcher.fill(ffi.new("uint32_t[]", 1535))


@pytest.mark.models
def test_several_threads_share_a_grammar(smol):
    grammar, problems = compile("gbnf", GRAMMARS["json"] + " ", smol), []

    def work(seed):
        try:
            chance, masks = np.random.default_rng(seed), Masks(smol)
            for _ in range(6):
                masks.walk(grammar, chance, steps=15)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


@pytest.mark.models
def test_what_was_worked_out_is_forgotten_before_it_takes_the_memory(smol):
    """Every state of this grammar is new; two matchers go on over the forgetting, and masks stay right."""
    grammar = compile("gbnf", 'root ::= (in | [c-f]){0,2000000000} "."\nin ::= "(" in? [xy]* ")"', smol)
    first, second, masks = grammar.matcher(), grammar.matcher(), Masks(smol)
    second.accept_bytes(b"d((x")
    before, sizes = masks.ids(second).tolist(), []
    for _ in range(400):
        assert first.accept_bytes(b"cd" * 1000)
        sizes.append(grammar.nbytes)
    assert max(sizes) < 200 << 20 and sizes != sorted(sizes)
    assert masks.ids(second).tolist() == before
    assert second.accept_bytes(b"))") and not second.may_end and second.accept_bytes(b".") and second.finished
    assert first.accept_bytes(b"(()).") and first.finished


@pytest.mark.models
def test_a_text_nested_too_deeply_is_refused(smol):
    matcher = compile("gbnf", 'root ::= "a" root "b" | [cd]', smol).matcher()
    with pytest.raises(LlamafileError, match="nested too deeply"):
        for _ in range(1000):
            assert matcher.accept_bytes(b"a" * 4000)


@pytest.mark.models
def test_too_many_ways_are_refused(smol):
    """No work without end: a mask for which more is tried than any use has gives up."""
    letters = " | ".join(f'r{i} "{chr(97 + i % 26)}" | "q" r{(i * 7 + 1) % 300}' for i in range(300))
    rules = "\n".join(f"r{i} ::= [a-z ] r{(i + 1) % 300} | [a-z ]? r{(i * 3 + 1) % 300} | ." for i in range(300))
    matcher, masks = compile("gbnf", f"root ::= ({letters})+\n{rules}", smol).matcher(), Masks(smol)
    try:
        for _ in range(20):
            matcher.accept(int(masks.ids(matcher)[5000]))
    except LlamafileError as problem:
        assert "less ambiguous" in str(problem)

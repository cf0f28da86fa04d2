"""Special tokens in text, tokens with a part to play, and the rules that a file's keys set."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from llamafile.errors import LlamafileError
from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer
from tests import weights
from tests.oracles import llama_cpp

from . import ggufs, texts
from .oracles import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER, byte_alphabet

ALPHABET = byte_alphabet()


def opened(path):
    """Return a tokenizer of a file that stays open with it."""
    return Tokenizer(open_path(path))


def bpe(tmp_path, more=(), *, pre="gpt-2", merges=("a b", "ab c"), **keys):
    """Return a BPE tokenizer of 256 bytes, the merges and further (text, kind)."""
    merged = [m.replace(" ", "") for m in merges]
    tokens = [*ALPHABET, *merged, *(t for t, _ in more)]
    kinds = [NORMAL] * (len(tokens) - len(more)) + [k for _, k in more]
    return opened(ggufs.write(tmp_path / "bpe.gguf", "gpt2", tokens, pre=pre, kinds=kinds, merges=list(merges), **keys))


def spm(tmp_path, more=(), *, byte_tokens=True, **keys):
    """Return a SentencePiece tokenizer of a few characters, "▁", "ab" and further (text, kind)."""
    tokens, kinds = ["<unk>", "<s>", "</s>"], [UNKNOWN, CONTROL, CONTROL]
    if byte_tokens:
        tokens, kinds = tokens + [f"<0x{b:02X}>" for b in range(256)], kinds + [BYTE] * 256
    tokens += ["▁", "a", "b", "ab", "▁a", *(t for t, _ in more)]
    kinds += [NORMAL] * 5 + [k for _, k in more]
    scores = [-float(i) for i in range(len(tokens))]
    return opened(ggufs.write(tmp_path / "spm.gguf", "llama", tokens, kinds=kinds, scores=scores, **keys))


def pieces(tokenizer, text, **how):
    """Return the pieces that text is cut into."""
    return [tokenizer.piece(i, True).decode("utf-8", "replace") for i in tokenizer.encode(text, **how)]


def test_specials_are_leftmost_and_longest(tmp_path):
    more = [("<x>", CONTROL), ("<x><y>", CONTROL), ("<y>", CONTROL), ("x><y>z", CONTROL), ("<u", USER), ("", CONTROL)]
    tokenizer = bpe(tmp_path, more)
    assert pieces(tokenizer, "abc<x><y>z") == ["abc", "<x><y>", "z"]
    assert pieces(tokenizer, "<x><z") == ["<x>", "<", "z"]
    assert pieces(tokenizer, "ax><y>z") == ["a", "x><y>z"]
    assert pieces(tokenizer, "<u<ux<") == ["<u", "<u", "x", "<"]
    assert pieces(tokenizer, "<x><u", parse_special=False) == ["<", "x", ">", "<u"]
    assert pieces(tokenizer, "<x") == ["<", "x"]


def test_special_texts_do_not_come_from_merging(tmp_path):
    tokenizer = bpe(tmp_path, [("hello", CONTROL)], pre="llama-bpe", add_bos_token=False)
    assert pieces(tokenizer, "hello") == ["hello"]
    assert pieces(tokenizer, "hello", parse_special=False) == list("hello")


def test_whole_words_by_pre_tokenizer(tmp_path):
    for pre in ("llama-bpe", "tekken", "qwen2", "gpt-2"):
        want = ["hello"] if pre in ("llama-bpe", "tekken") else list("hello")
        assert pieces(bpe(tmp_path, [("hello", NORMAL)], pre=pre, add_bos_token=False), "hello") == want


def test_control_tokens_are_no_text(tmp_path):
    tokenizer = bpe(tmp_path, [("<c>", CONTROL), ("<u>", USER), ("[PAD]", UNUSED), ("<unk>", UNKNOWN)])
    c, u, pad, unk = map(tokenizer.token_id, ("<c>", "<u>", "[PAD]", "<unk>"))
    assert [tokenizer.piece(i) for i in (c, u, pad, unk)] == [b"", b"<u>", b"", b""]
    assert tokenizer.detokenize([c, u, pad, unk, 0], special=True) == b"<c><u>[PAD]<unk>\0"
    assert [tokenizer.is_control(i) for i in (c, u, pad, unk, 0, -1, 10**6)] == [True] + [False] * 6
    assert tokenizer.detokenize([2**40, 0, -(2**70)]) == b"\0"
    assert tokenizer.piece(-1) == tokenizer.piece(10**6) == tokenizer.detokenize([-5, 2**31 - 1]) == b""


def test_tokens_in_no_byte_alphabet_stay_as_they_are(tmp_path):
    tokenizer = bpe(tmp_path, [(t, NORMAL) for t in ("two words", "的", "Ġé", "aȀ", "aǿ")])
    assert [tokenizer.piece(tokenizer.token_id(t)) for t in ("two words", "的", "Ġé", "aȀ", "aǿ")] == [
        b"two words", "的".encode(), b" \xe9", "aȀ".encode(), "aǿ".encode()]


def test_bos_and_eos(tmp_path):
    more = [("<b>", CONTROL), ("<e>", CONTROL)]
    keys = {"bos_token_id": 258, "eos_token_id": 259}
    assert pieces(bpe(tmp_path, more, **keys), "a") == ["a"]
    assert pieces(bpe(tmp_path, more, pre="llama-bpe", **keys), "a") == ["<b>", "a"]
    assert pieces(bpe(tmp_path, more, pre="llama-bpe", add_bos_token=False, **keys), "a") == ["a"]
    both = bpe(tmp_path, more, add_bos_token=True, add_eos_token=True, **keys)
    assert pieces(both, "a") == ["<b>", "a", "<e>"]
    assert both.encode("") == [258, 259] and both.encode("", add_special=False) == []
    assert pieces(both, "a", add_special=False) == ["a"]
    assert bpe(tmp_path, more, add_bos_token=True).encode("a") == [ALPHABET.index("a")]
    assert spm(tmp_path).encode("a")[0] == 1
    assert spm(tmp_path, bos_token_id=2**32 - 1, add_bos_token=True).encode("a") == [spm(tmp_path).token_id("▁a")]


def test_space_prefix(tmp_path):
    plain, none = spm(tmp_path, [("<u>", USER)]), spm(tmp_path, [("<u>", USER)], add_space_prefix=False)
    assert pieces(plain, "ab") == ["<s>", " ", "ab"] or pieces(plain, "ab") == ["<s>", " a", "b"]
    assert pieces(none, "ab") == ["<s>", "ab"]
    assert pieces(plain, "a</s>a<u>a") == ["<s>", " a", "</s>", " a", "<u>", " a"]
    assert pieces(none, "a<u> a") == ["<s>", "a", "<u>", " a"]
    assert plain.encode("") == [1] and plain.encode("", add_special=False) == []
    for text in ("ab", " ab", "  ab ", "", " ", "é☃"):
        assert plain.detokenize(plain.encode(text)) == text.encode() == none.detokenize(none.encode(text))
    ids = plain.encode("a", add_special=False)
    assert plain.detokenize(ids, start=False) == b" a" and plain.piece(ids[0]) == b" a"
    assert plain.detokenize([plain.token_id("<u>"), *ids]) == b"<u> a"


def test_bytes_and_unknowns(tmp_path):
    assert pieces(spm(tmp_path), "☃", add_special=False) == [" ", "�", "�", "�"]
    assert spm(tmp_path).detokenize(spm(tmp_path).encode("a☃b\0")) == "a☃b\0".encode()
    without = spm(tmp_path, byte_tokens=False)
    assert pieces(without, "a☃☃b☃", add_special=False) == [" a", "<unk>", "b", "<unk>"]
    assert pieces(without, "☃<unk>☃", add_special=False) == [" ", "<unk>", "<unk>", " ", "<unk>"]


def test_parts_by_key_and_by_text(tmp_path):
    texts = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
             "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|eom_id|>"]
    tokenizer = bpe(tmp_path, [(t, CONTROL) for t in texts], eos_token_id=258, padding_token_id=258)
    at = {t: 258 + i for i, t in enumerate(texts)}
    assert tokenizer.eot == at["<|im_end|>"] and tokenizer.eom == at["<|eom_id|>"]
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.unk) == (None, 258, 258, None)
    assert (tokenizer.fim_pre, tokenizer.fim_suf, tokenizer.fim_mid) == (261, 262, 263)
    assert (tokenizer.fim_pad, tokenizer.fim_rep, tokenizer.fim_sep) == (264, 265, 266)
    assert tokenizer.eog == {258, 260, 264, 265, 266, 267}
    assert tokenizer.nl == ALPHABET.index("Ċ")
    keyed = bpe(tmp_path, [(t, CONTROL) for t in texts], eos_token_id=258, eot_token_id=259, fim_pre_token_id=260,
                suffix_token_id=261)
    assert (keyed.eot, keyed.fim_pre, keyed.fim_suf) == (259, 260, 261)
    assert keyed.eog >= {258, 259, 260}


def test_ordinary_text_does_not_end_an_answer(tmp_path):
    tokenizer = bpe(tmp_path, [("<|im_end|>", NORMAL), ("<|eot_id|>", USER)])
    assert tokenizer.eog == {tokenizer.token_id("<|eot_id|>")}
    harmony = bpe(tmp_path, [(f"<|{t}|>", CONTROL) for t in ("return", "call", "end")])
    assert harmony.eog == {258, 259}


def test_real_models():
    smollm, qwen, tiny = (opened(ggufs.real(n)) for n in ("smollm2", "qwen0.5b", "tinycoder"))
    chat = "<|im_start|>user\nHi<|im_end|>\n"
    assert smollm.encode(chat) == [1, 4093, 198, 26843, 2, 198]
    assert qwen.encode(chat) == [151644, 872, 198, 13048, 151645, 198]
    assert (smollm.n_vocab, qwen.n_vocab, tiny.n_vocab) == (49152, 151936, 32000)
    assert smollm.eog == {0, 2, 4} and {151643, 151645} <= qwen.eog and tiny.eog == {2}
    assert (tiny.add_bos, smollm.add_bos, qwen.add_bos) == (True, False, False)
    assert tiny.nl == 13 and qwen.nl == 198
    for tokenizer in (smollm, qwen, tiny):
        assert tokenizer.token_id("no such token") is None and tokenizer.token_id(b"\xff") is None


def test_surrogates_in_text(tmp_path):
    tokenizer = bpe(tmp_path)
    assert tokenizer.encode("a\udcffb\udcc3\udca9") == tokenizer.encode("a\ufffdbé")  # an argument with broken UTF-8
    assert tokenizer.encode("\ud83d!") == tokenizer.encode("\ufffd\ufffd\ufffd!")
    assert tokenizer.encode("a\0b") == [ALPHABET.index("a"), 0, ALPHABET.index("b")]


def test_unknown_kinds_are_refused(tmp_path):
    known = r"x\.gguf: its tokenizer is of kind 'bert', this build knows gpt2 and llama; "
    with pytest.raises(LlamafileError, match=known):
        opened(ggufs.write(tmp_path / "x.gguf", "bert", ["a"]))
    known = r"its pre-tokenizer is 'nobody', this build knows default gpt-2 .*tekken.*; "
    with pytest.raises(LlamafileError, match=known):
        bpe(tmp_path, pre="nobody")


def test_missing_arrays_are_named(tmp_path):
    for model, arrays, missing in (("gpt2", {}, "merges"), ("llama", {}, "scores")):
        with pytest.raises(LlamafileError, match=rf"key tokenizer\.ggml\.{missing} is missing"):
            opened(ggufs.write(tmp_path / "x.gguf", model, ["a", "b"], **arrays))
    with pytest.raises(LlamafileError, match=r"the vocabulary is cut off or its arrays differ in length"):
        opened(ggufs.write(tmp_path / "x.gguf", "llama", ["a", "b"], scores=[1.0]))
    with pytest.raises(LlamafileError, match=r"the vocabulary is cut off or its arrays differ in length"):
        opened(ggufs.write(tmp_path / "x.gguf", "gpt2", ["a", "b"], merges=["a b"], kinds=[1]))


def test_llama_cpp_agrees():
    """Where its habits are not those of the models' own tokenizers the texts are left out: U+FFFD for each byte of a
    broken character, no composing for Qwen, "</s>" special wherever it is a token."""
    lines = ["<|im_start|>user\nhi<|im_end|>x<|im_end|>\n", " lead", "  two  ", "", " ", "\n\n", "<0x41>", "▁a", "a\0b",
             "<|endoftext|> <|fim_prefix|>a<|fim_suffix|> b<|fim_middle|>", "I'm you're", "日本語😀"]
    for name in ("smollm2", "qwen0.5b", "tinycoder"):
        path = ggufs.real(name)
        try:
            oracle, tokenizer = llama_cpp.LlamaCpp(str(path)), opened(path)
            for parse in (True, False):
                for begin in (True, False):
                    more = lines if name == "qwen0.5b" else [*lines, "<s>a</s> b<unk>"]
                    want = oracle.tokenize_all(more, add_special=begin, parse_special=parse)
                    assert [tokenizer.encode(t, add_special=begin, parse_special=parse) for t in more] == want
        except weights.Unavailable as problem:
            pytest.skip(str(problem))


def test_threads_share_a_tokenizer():
    tokenizer = opened(ggufs.real("qwen0.5b"))
    parts = [texts.foreign(20_000, seed=n) for n in range(8)]
    want = [tokenizer.encode(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokenizer.encode, parts * 4)) == want * 4

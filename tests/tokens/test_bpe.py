"""Byte-level BPE gives the ids of the models' own tokenizers."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer

from . import ggufs, oracles, texts, vocabularies
from .oracles import CONTROL, NORMAL, USER
from .test_pretokenize import ALPHABET

LLAMA3 = [f"<|{name}|>" for name in (
    "begin_of_text", "end_of_text", "reserved_special_token_0", "start_header_id", "end_header_id", "eom_id", "eot_id")]
LLAMA4 = [f"<|{name}|>" for name in ("begin_of_text", "end_of_text", "fim_prefix", "header_start", "eom", "eot")]
TEKKEN = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"] + [f"<SPECIAL_{i}>" for i in range(5, 1000)]
REAL = ["smollm2", "qwen0.5b"]


def weights_oracle(file):
    """Build Hugging Face's tokenizer from a GGUF's own arrays."""
    tokens, kinds, merges = (file.keys[f"tokenizer.ggml.{key}"].tolist() for key in ("tokens", "token_type", "merges"))
    return oracles.bpe({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges],
                       file.text("tokenizer.ggml.pre"), [t for t, k in zip(tokens, kinds, strict=True) if k != NORMAL])


def tiktoken_oracle(tokens, pattern, special, first=0):
    """Build OpenAI's tokenizer; ids of ordinary tokens begin at `first`."""
    tiktoken = pytest.importorskip("tiktoken")
    made = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks={t: i for i, t in enumerate(tokens)},
                             special_tokens={t: len(tokens) + i for i, t in enumerate(special)})

    def encode(text):
        ids = made.encode(text, allowed_special="all")
        if not first:
            return ids
        return [i + first if i < len(tokens) else i - len(tokens) for i in ids]

    return encode


def make_gpt2(path, fresh):
    vocab = json.loads(path.read_text())
    merges = vocabularies.fetch("gpt2.bpe").read_text("utf-8").split("\n")[1:-1]
    tokens = sorted(vocab, key=vocab.get)
    kinds = [CONTROL if t == "<|endoftext|>" else NORMAL for t in tokens]
    ggufs.write(fresh, "gpt2", tokens, pre="gpt-2", kinds=kinds, merges=merges, eos_token_id=50256)


def make_qwen3(path, fresh):
    data = json.loads(path.read_text())
    vocab = data["model"]["vocab"] | {t["content"]: t["id"] for t in data["added_tokens"]}
    tokens, kinds = sorted(vocab, key=vocab.get), [NORMAL] * len(vocab)
    for token in data["added_tokens"]:
        kinds[token["id"]] = CONTROL if token["special"] else USER
    ggufs.write(fresh, "gpt2", tokens, pre="qwen2", kinds=kinds, merges=[" ".join(m) for m in data["model"]["merges"]])


def make_tekken(path, fresh):
    ggufs.write_ranked(fresh, ggufs.tekken(path), "tekken", TEKKEN, special_first=True, bos_token_id=1, eos_token_id=2)


def gpt2():
    vocab = json.loads(vocabularies.fetch("gpt2.json").read_text())
    merges = [tuple(m.split(" ")) for m in vocabularies.fetch("gpt2.bpe").read_text("utf-8").split("\n")[1:-1]]
    return (ggufs.kept("gpt2.json", make_gpt2),
            oracles.bpe(vocab, merges, "gpt-2", ["<|endoftext|>"]))


def qwen3():
    return ggufs.kept("qwen3.json", make_qwen3), HuggingFace.from_file(str(vocabularies.fetch("qwen3.json")))


def llama3():
    def make(path, fresh):
        ggufs.write_ranked(fresh, ggufs.ranked(path), "llama-bpe", LLAMA3, bos_token_id=128000, eos_token_id=128001)

    tokens = ggufs.ranked(vocabularies.fetch("llama3.model"))
    return (ggufs.kept("llama3.model", make), tiktoken_oracle(tokens, oracles.PATTERNS["llama-bpe"][0], LLAMA3))


def llama4():
    def make(path, fresh):
        ggufs.write_ranked(fresh, ggufs.ranked(path), "llama4", LLAMA4)

    tokens = ggufs.ranked(vocabularies.fetch("llama4.model"))
    return ggufs.kept("llama4.model", make), tiktoken_oracle(tokens, oracles.O200K, LLAMA4)


def tekken():
    source = vocabularies.fetch("tekken.json")
    pattern = json.loads(source.read_bytes())["config"]["pattern"]
    return ggufs.kept("tekken.json", make_tekken), tiktoken_oracle(ggufs.tekken(source), pattern, TEKKEN, len(TEKKEN))


VOCABULARIES = {"gpt2": gpt2, "qwen3": qwen3, "llama3": llama3, "llama4": llama4, "tekken": tekken}


@pytest.fixture(scope="module", params=[*REAL, *VOCABULARIES])
def pair(request):
    """Our tokenizer, and a function that gives the reference's ids."""
    if request.param in REAL:
        path, oracle = ggufs.real(request.param), None
    else:
        path, oracle = VOCABULARIES[request.param]()
    with open_path(path) as file:
        oracle = oracle or weights_oracle(file)
        if isinstance(oracle, HuggingFace):
            yield Tokenizer(file), lambda text: oracle.encode(text, add_special_tokens=False).ids
        else:
            yield Tokenizer(file), oracle


def same(tokenizer, got, want):
    """Compare ids; say where they part."""
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
        near = slice(max(0, at - 3), at + 4)
        raise AssertionError(f"at {at}: {[tokenizer.piece(i, True) for i in got[near]]}, expected "
                             f"{[tokenizer.piece(i, True) for i in want[near]]}")


def composes(tokenizer):
    """Return whether a model brings text into Unicode's normal form C, as Qwen's do."""
    return tokenizer.encode("e\u0301", add_special=False) == tokenizer.encode("é", add_special=False)


def check(pair, text):
    tokenizer, oracle = pair
    text = texts.settled(text) if composes(tokenizer) else text
    got = tokenizer.encode(text, add_special=False)
    same(tokenizer, got, oracle(text))
    return got


def normal(text):
    """Return the normal form C of text, but for what stands behind a special token, which is not looked at."""
    return "".join(part if part.startswith("<|") else unicodedata.normalize("NFC", part)
                   for part in re.split(r"(<\|\w+\|>)", text))


def test_mixed_text(pair):
    text = texts.mixed(600_000) + texts.foreign(100_000, seed=5)
    got = check(pair, text)
    if all(pair[0].token_id(c) is not None for c in oracles.byte_alphabet()):
        back = pair[0].detokenize(got, special=True).decode()
        assert back == text or (composes(pair[0]) and back == normal(texts.settled(text)))


@pytest.mark.long
def test_five_megabytes(pair):
    check(pair, texts.mixed())


def test_random_text(pair):
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.sampled_from(ALPHABET), max_size=60) | st.text(max_size=20))
    def run(text):
        check(pair, text.encode("utf-8", "replace").decode())

    run()


def test_broken_utf8_is_read_as_python_reads_it(pair):
    tokenizer, _ = pair
    data = texts.broken(200_000)
    check(pair, data.decode("utf-8", "replace"))
    assert tokenizer.encode(data) == tokenizer.encode(data.decode("utf-8", "replace"))


def test_long_words(pair):
    tokenizer, oracle = pair
    for text in ("a" * 5000, "ab" * 3000, "é" * 2000, "的" * 1500, " " * 4000 + "x", "\n" * 3000, "=" * 3000, "0" * 999,
                 "".join(chr(0x4E00 + i) for i in range(3000)), "aAbB" * 900, "\U0001f600" * 700):
        same(tokenizer, tokenizer.encode(text, add_special=False), oracle(text))

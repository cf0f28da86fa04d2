"""SentencePiece vocabularies give the ids of SentencePiece."""

from __future__ import annotations

import json
import random

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer

from . import ggufs, oracles, texts, vocabularies
from .oracles import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from .test_bpe import same
from .test_pretokenize import ALPHABET


def tinycoder():
    """32,000 tokens, from a real GGUF."""
    path = ggufs.real("tinycoder")
    with open_path(path) as file:
        tokens, scores, kinds = (file.keys[f"tokenizer.ggml.{k}"].tolist() for k in ("tokens", "scores", "token_type"))
    return path, oracles.sentencepiece_model([t.encode() for t in tokens], scores, kinds)


def mistral(name):
    """A vocabulary in SentencePiece's own file."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(vocabularies.fetch(name)))

    def make(path, fresh):
        ids = range(model.get_piece_size())
        kinds = [UNKNOWN if model.is_unknown(i) else CONTROL if model.is_control(i) else BYTE if model.is_byte(i)
                 else USER if model.id_to_piece(i) in ("[INST]", "[/INST]") else NORMAL for i in ids]
        ggufs.write(fresh, "llama", [model.id_to_piece(i) for i in ids], scores=[model.get_score(i) for i in ids],
                    kinds=kinds, bos_token_id=1, eos_token_id=2, unknown_token_id=0)

    return ggufs.kept(name, make), model


def llama2():
    """The 32,000 tokens of Llama 2, whose scores count down; Hugging Face has the same as merges."""
    vocab = json.loads(vocabularies.fetch("llama2.json").read_text())["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.get)
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(tokens) - 259)]
    scores = [float(min(0, 259 - i)) for i in range(len(tokens))]

    def make(path, fresh):
        ggufs.write(fresh, "llama", tokens, scores=scores, kinds=kinds)

    return ggufs.kept("llama2.json", make), oracles.sentencepiece_model([t.encode() for t in tokens], scores, kinds)


def gemma3():
    """262,000 tokens, no space in front, and thousands of tokens that are found in text as they stand."""
    data = json.loads(vocabularies.fetch("gemma3.json").read_text())
    vocab, added = data["model"]["vocab"], data["added_tokens"]
    vocab.update((t["content"], t["id"]) for t in added)
    tokens = sorted(vocab, key=vocab.get)
    kinds = ggufs.gemma_kinds(tokens, added)
    rank = {}
    for i, (left, right) in enumerate(data["model"]["merges"]):
        rank.setdefault(left + right, i)
    scores = [-float(rank.get(t, 1_000_000)) for t in tokens]

    def make(path, fresh):
        plain = [t.replace("▁", " ") if k == USER else t for t, k in zip(tokens, kinds, strict=True)]
        ggufs.write(fresh, "llama", plain, scores=scores, kinds=kinds, bos_token_id=2, eos_token_id=1,
                    unknown_token_id=3, add_space_prefix=False)

    return (ggufs.kept("gemma3.json", make),
            oracles.sentencepiece_model([t.encode() for t in tokens], scores, kinds, prefix=False))


VOCABULARIES = {"tinycoder": tinycoder, "llama2": llama2, "mistral-v1": lambda: mistral("mistral-v1.model"),
                "mistral-v3": lambda: mistral("mistral-v3.model"), "gemma3": gemma3}


@pytest.fixture(scope="module", params=VOCABULARIES)
def pair(request):
    """Our tokenizer and SentencePiece's."""
    path, model = VOCABULARIES[request.param]()
    with open_path(path) as file:
        yield Tokenizer(file), model


def plain(pair, text):
    """Return text without what SentencePiece would find in it and a GGUF cannot say.

    It looks for user-defined tokens after spaces have become U+2581, a GGUF has them with spaces; and the control
    tokens of Mistral are user-defined ones in its own file.
    """
    return text.replace("▁", "").replace("[INST]", "") if pair[0].n_vocab != 32000 else text


def check(pair, text):
    tokenizer, model = pair
    got = tokenizer.encode(text, add_special=False, parse_special=False)
    same(tokenizer, got, model.encode(text))
    return got


def test_mixed_text(pair):
    text = texts.mixed(600_000) + texts.foreign(100_000, seed=5)
    text = plain(pair, text)
    assert pair[0].detokenize(check(pair, text)) == text.replace("▁", " ").encode()


@pytest.mark.long
def test_five_megabytes(pair):
    check(pair, plain(pair, texts.mixed()))


def test_random_text(pair):
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(st.sampled_from(ALPHABET), max_size=60) | st.text(max_size=20))
    def run(text):
        check(pair, plain(pair, text.encode("utf-8", "replace").decode()))

    run()


def test_broken_utf8_is_read_as_python_reads_it(pair):
    data = texts.broken(200_000)
    text = data.decode("utf-8", "replace")
    check(pair, plain(pair, text))
    assert pair[0].encode(data) == pair[0].encode(text)


def test_long_words(pair):
    for text in ("a" * 20000, "ab" * 9000, "é" * 4000, "的" * 4000, " " * 9000 + "x", "\n" * 3000, "=" * 3000,
                 "0" * 999, "".join(chr(0x4E00 + i) for i in range(3000)), "\U0001f600" * 700):
        check(pair, text)


def test_hugging_face_agrees():
    data = json.loads(vocabularies.fetch("llama2.json").read_text())["model"]
    oracle = oracles.spm_bpe(data["vocab"], [tuple(m.split(" ")) for m in data["merges"]])
    with open_path(llama2()[0]) as file:
        tokenizer = Tokenizer(file)
        for line in texts.mixed(100_000).splitlines():
            line = " ".join(line.replace("▁", " ").split())  # the two make runs of spaces in different ways
            if line:
                want = oracle.encode(line, add_special_tokens=False).ids
                same(tokenizer, tokenizer.encode(line, add_special=False, parse_special=False), want)


def random_vocabulary(chance, bytes_too):
    """Return tokens, scores and kinds: few different scores, so that ties are many."""
    alphabet = "abé的▁"
    tokens = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if bytes_too else [])
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * (len(tokens) - 3)
    made = {*alphabet[: chance.randint(2, 5)]}
    for _ in range(chance.randint(0, 60)):
        made.add(chance.choice(sorted(made)) + chance.choice(sorted(made)))
    tokens += sorted(made, key=lambda t: (len(t), t))
    kinds += [NORMAL] * (len(tokens) - len(kinds))
    return tokens, [float(chance.choice((0, -1, -1, -2.5, -3, 7))) for _ in tokens], kinds


@pytest.mark.parametrize("bytes_too", [True, False])
def test_random_vocabularies(tmp_path, bytes_too):
    chance = random.Random(5)
    for number in range(60):
        tokens, scores, kinds = random_vocabulary(chance, bytes_too)
        rules = {"prefix": chance.random() < 0.5, "trim": chance.random() < 0.5}
        model = oracles.sentencepiece_model([t.encode() for t in tokens], scores, kinds, **rules)
        path = ggufs.write(tmp_path / f"{number}.gguf", "llama", tokens, scores=scores, kinds=kinds, unknown_token_id=0,
                           add_space_prefix=rules["prefix"], remove_extra_whitespaces=rules["trim"])
        with open_path(path) as file:
            tokenizer = Tokenizer(file)
            for _ in range(40):
                text = "".join(chance.choices("aab bé的 ☃x  ", k=chance.randint(0, 150)))
                same(tokenizer, tokenizer.encode(text, add_special=False, parse_special=False), model.encode(text))

"""Write GGUF files that hold a vocabulary and nothing else."""

from __future__ import annotations

import base64
import json

import gguf
import pytest

from tests import weights

from . import vocabularies
from .oracles import BYTE, CONTROL, NORMAL, UNKNOWN, USER, byte_alphabet


def write(path, model, tokens, *, pre=None, kinds=None, scores=None, merges=None, **keys):
    """Write a vocabulary as a GGUF file; other keys by their names behind `tokenizer.ggml.`; return the path."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    if kinds is not None:
        writer.add_token_types(kinds)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for key, value in keys.items():
        add = writer.add_bool if isinstance(value, bool) else writer.add_uint32
        add(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def kept(name, make):
    """Return the path of a GGUF made from a vocabulary, from the cache or made now by make(path)."""
    source = vocabularies.fetch(name)
    target = source.with_name(f"{name}.v1.gguf")
    if not target.exists():
        fresh = target.with_suffix(".new")
        make(source, fresh)
        fresh.rename(target)
    return target


def real(name):
    """Return the path of a real model; skip the test where it cannot be had."""
    try:
        return weights.fetch(name)
    except weights.Unavailable as problem:
        pytest.skip(str(problem))


def ranked(path):
    """Return the token bytes of a tiktoken file, by rank."""
    return [base64.b64decode(line.split()[0]) for line in path.read_bytes().splitlines() if line]


def all_merges(tokens):
    """Return every way to make a token of two others, in the tokens' order, as converters write them for tiktoken."""
    known = {t: i for i, t in enumerate(tokens)}
    pairs = []
    for token in tokens:
        found = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in known and token[i:] in known]
        pairs += sorted(found, key=lambda p: (known[p[0]], known[p[1]]))
    alphabet = byte_alphabet()
    return [tuple("".join(alphabet[b] for b in part) for part in pair) for pair in pairs]


def byte_level(tokens):
    """Return tokens of bytes as byte-level vocabularies write them."""
    alphabet = byte_alphabet()
    return ["".join(alphabet[b] for b in token) for token in tokens]


def write_ranked(path, tokens, pre, special, special_first=False, **keys):
    """Write a tiktoken vocabulary with special tokens behind or before it."""
    texts, merges = byte_level(tokens), [" ".join(m) for m in all_merges(tokens)]
    kinds = [NORMAL] * len(texts)
    order = (special, texts) if special_first else (texts, special)
    orders = ([CONTROL] * len(special), kinds) if special_first else (kinds, [CONTROL] * len(special))
    return write(path, "gpt2", [*order[0], *order[1]], pre=pre, kinds=[*orders[0], *orders[1]], merges=merges, **keys)


def tekken(path):
    """Return the token bytes of a tekken file that are in use."""
    data = json.loads(path.read_bytes())
    size = data["config"]["default_vocab_size"] - data["config"]["default_num_special_tokens"]
    return [base64.b64decode(t["token_bytes"]) for t in data["vocab"][:size]]


def gemma_kinds(tokens, added):
    """Return the kinds of Gemma's tokens: those added are text that users may write, but for the first four."""
    kinds = [BYTE if len(t) == 6 and t.startswith("<0x") else NORMAL for t in tokens]
    for token in added:
        kinds[token["id"]] = CONTROL if token["special"] else USER
    kinds[tokens.index("<unk>")] = UNKNOWN
    return kinds

"""Vocabularies for grammars: SmolLM2's 49,152 tokens, Qwen3's 151,669, and one of SentencePiece with byte fallback."""

from __future__ import annotations

import pytest

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer
from tests.tokens import ggufs
from tests.tokens.test_bpe import make_qwen3


@pytest.fixture(scope="session")
def smol(smollm2):
    return Tokenizer(open_path(smollm2))


@pytest.fixture(scope="session")
def qwen():
    return Tokenizer(open_path(str(ggufs.kept("qwen3.json", make_qwen3))))


@pytest.fixture(scope="session")
def spm(tinycoder):
    return Tokenizer(open_path(tinycoder))

"""The vocabulary that answers are cut into tokens with."""

from __future__ import annotations

import pytest

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer
from tests.tokens import ggufs
from tests.tokens.test_bpe import make_qwen3


@pytest.fixture(scope="session")
def qwen():
    """Qwen3's tokenizer."""
    return Tokenizer(open_path(str(ggufs.kept("qwen3.json", make_qwen3))))

"""Regenerates data/perplexity.json: llama.cpp's perplexity on the first 50 kB of the King James text.

Run `python -m tests.oracles.make_perplexity`; it needs npm, the models and Debian's packages, and takes some minutes.
`LlamaCpp.perplexity` defines the number.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracles import kjv
from tests.oracles.llama_cpp import LlamaCpp
from tests.weights import fetch

FILE = Path(__file__).with_name("data") / "perplexity.json"
MODELS = ("smollm2", "qwen0.5b")
SIZE = 50_000  # bytes of text, cut back to whole lines
WINDOW = 512


def load(model: str) -> dict[str, Any]:
    """What is kept for a model: window, tokens, ids_sha256, perplexity, nll (the sum of -ln p of each window)."""
    return json.loads(FILE.read_text())[model]


def ids_sha256(ids: list[int]) -> str:
    """Digest of ids as little-endian 32-bit integers."""
    return hashlib.sha256(np.asarray(ids, "<i4").tobytes()).hexdigest()


def make(model: str) -> dict[str, Any]:
    """Ask llama.cpp."""
    oracle = LlamaCpp(fetch(model))
    ids = oracle.tokenize(kjv.head(SIZE), add_special=True)
    perplexity, nll = oracle.perplexity(ids, WINDOW)
    return {"window": WINDOW, "tokens": len(ids), "ids_sha256": ids_sha256(ids), "perplexity": round(perplexity, 6),
            "nll": [round(float(n), 4) for n in nll]}


if __name__ == "__main__":
    FILE.write_text(json.dumps({model: make(model) for model in MODELS}, indent=1) + "\n")

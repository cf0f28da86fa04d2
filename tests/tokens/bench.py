"""Times opening and encoding, in processor time: `python -m tests.tokens.bench`; MB are 1,000,000 bytes of UTF-8."""

from __future__ import annotations

import random
import statistics
import time

from llamafile.gguf.reader import open_path
from llamafile.tokens import Tokenizer

from . import ggufs, texts
from .test_bpe import VOCABULARIES as BPES
from .test_spm import VOCABULARIES as SPMS

CJK = [s for s in texts.SENTENCES if "\u3040" < s[0] < "\ud800"]


def cases():
    """Return text by name."""
    chance = random.Random(2)
    return {
        "prose": texts.prose()[:2_000_000],
        "code": texts.code()[:2_000_000],
        "CJK": "".join(chance.choice(CJK) for _ in range(20_000)),
        "mixed": texts.mixed(2_000_000),
        "no word twice": " ".join("".join(chance.choices("etaoinshrdlu", k=9)) for _ in range(100_000)),
        "random Unicode": texts.random_text(chance, 300_000),
        "one word of a": "a" * 1_000_000,
        "one random word": "".join(chance.choices("etaoinshrdlu", k=1_000_000)),
        "spaces": " " * 1_000_000 + "x",
        "a chat line": "Why is the sky blue? Answer in one sentence.\n",
    }


def best(function, times=3):
    """Return the shortest of several runs in seconds."""
    runs = []
    for _ in range(times):
        start = time.process_time()
        function()
        runs.append(time.process_time() - start)
    return min(runs)


def opening(file):
    """Return the median time of 20 openings in milliseconds."""
    runs = []
    for _ in range(20):
        start = time.process_time()
        Tokenizer(file)
        runs.append(time.process_time() - start)
    return statistics.median(runs) * 1e3


def main():
    """Print the table."""
    paths = {name: ggufs.real(name) for name in ("smollm2", "qwen0.5b")}
    paths |= {name: BPES[name]()[0] for name in ("llama3", "tekken")}
    paths |= {name: SPMS[name]()[0] for name in ("llama2", "gemma3")}
    named = cases()
    print(f"{'':16}" + "".join(f"{name:>10}" for name in paths))
    files = {name: open_path(path) for name, path in paths.items()}
    print(f"{'open, ms':16}" + "".join(f"{opening(file):10.1f}" for file in files.values()))
    tokenizers = [Tokenizer(file) for file in files.values()]
    for name, text in named.items():
        data = text.encode()
        speeds = [len(data) / best(lambda t=t, d=data: t.encode(d)) / 1e6 for t in tokenizers]
        print(f"{name + ', MB/s':16}" + "".join(f"{speed:10.1f}" for speed in speeds))


if __name__ == "__main__":
    main()

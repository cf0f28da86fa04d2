"""Whole models on a real card, by the built executable and the standard library alone; a table last.

`python3 tests/gpu/model_on_card.py --engine build/llamafile --model smollm2.gguf [--work FOLDER] [--seconds 240]`:
builds the module, compares greedy texts of card and CPU, then measures prompt and answer of small and large random
models against the card's memory. What time does not suffice for is left out. Exit status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import made_model

TEXTS = ("The capital of France is", "Once upon a time there was a", "def fibonacci(n):\n", "1, 2, 3, 4, 5, 6, 7,")
LARGE = (("1.1B", "Q4_0"), ("7B", "Q4_0"), ("7B", "Q4_K"), ("8B", "Q8_0"), ("1.1B", "F16"), ("7B", "Q6_K"))
PROMPT, ANSWER = 512, 128
SPOKEN = re.compile(r"prompt (\d+) tokens in ([\d.]+) s.*; answer (\d+) tokens in ([\d.]+) s")


class Card:
    """Runs the executable; notes what went wrong."""

    def __init__(self, options):
        self.engine, self.kind, self.end = str(options.engine), options.gpu, time.monotonic() + options.seconds
        self.wrong, self.rows = [], []
        self.environment = {**os.environ, "LLAMAFILE_CACHE": str(options.work / "cache")}
        (options.work / "cache").mkdir(parents=True, exist_ok=True, mode=0o700)

    def left(self):
        return self.end - time.monotonic()

    def run(self, *words, limit=120):
        """(status, output, errors) of the executable."""
        command = [self.engine, *map(str, words)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=self.environment,
                                  stdin=subprocess.DEVNULL, timeout=max(5, min(limit, self.left())))  # fmt: skip
        except subprocess.TimeoutExpired:
            return 124, "", f"no answer after {limit} s"
        return done.returncode, done.stdout, done.stderr

    def expect(self, good, what):
        """Note what is wrong."""
        print(("  good: " if good else "  WRONG: ") + what, flush=True)
        if not good:
            self.wrong.append(what)

    def generate(self, model, text, count, *words, limit=120):
        """The Spoken of one run; None where it failed."""
        status, output, errors = self.run("-m", model, "-p", text, "-n", count, "--temp", "0", "--no-display-prompt",
                                          "--ignore-eos", "-c", "2048", *words, limit=limit)  # fmt: skip
        found = SPOKEN.search(errors)
        if status or not found:
            self.expect(False, f"{' '.join(map(str, words))}: status {status}: {errors.strip()[-600:]}")
            return None
        return Spoken(output, errors, *map(float, found.groups()))


class Spoken:
    """What a run said: the text, what it told on the standard error stream, tokens and seconds."""

    def __init__(self, text, errors, prompt, prompt_seconds, answer, seconds):
        self.text, self.errors = text, errors
        self.prompt = prompt / prompt_seconds if prompt_seconds else 0.0
        self.answer = (answer - 1) / seconds if seconds else 0.0  # the first token's logits came with the prompt


def same(a, b):
    """How many characters two texts share at their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def texts(card, model):
    """Greedy texts of the card in every division of the layers beside the CPU's."""
    print("== texts, card and CPU", flush=True)
    divisions = ([["-ngl", "999"], ["-ngl", "30"], ["-ngl", "7"], ["-ngl", "1"], ["-ngl", "999", "-nkvo"],
                  ["-ngl", "999", "-ctk", "q8_0", "-ctv", "q8_0"], ["-ngl", "999", "-ub", "8"]])  # fmt: skip
    for i, text in enumerate(TEXTS):
        cpu = card.generate(model, text, 48)
        if cpu is None:
            continue
        for words in divisions if not i else divisions[:1]:
            spoken = card.generate(model, text, 48, "--gpu", card.kind, *words)
            if spoken is None:
                continue
            shared, banner = same(cpu.text, spoken.text), re.search(r"\d+ of \d+ layers on [^;\n]*", spoken.errors)
            # Two roundings of the same sums part at a near tie; a wrong kernel parts at once, or writes rubbish.
            card.expect(shared >= 12, f"{' '.join(words)}: {shared} of {len(cpu.text)} characters are the CPU's; "
                                      f"{banner[0] if banner else 'NO BANNER'}")  # fmt: skip
            if shared < len(cpu.text):
                print(f"    CPU:  {cpu.text[:160]!r}\n    card: {spoken.text[:160]!r}", flush=True)


def speeds(card, name, model, weights, bandwidth, *words, count=ANSWER):
    """A row of the table: prompt and answer in tokens a second, weights read a second beside the memory's speed."""
    text = " ".join(str(i % 10) for i in range(PROMPT // 2))
    card.generate(model, text, 8, *words)  # brings pages and clocks up
    spoken = card.generate(model, text, count, *words)
    if spoken is None:
        return
    read = spoken.answer * weights
    share = f"{100 * read / bandwidth:5.1f} %" if bandwidth else "      -"
    card.rows.append(f"{name:34} {spoken.prompt:10.0f} {spoken.answer:9.1f} {read / 1e9:9.1f} {share}")
    print(f"  {card.rows[-1]}", flush=True)


def bandwidth_of(card):
    """Bytes a second that the card's memory moves, as the probe measures it; 0 where it does not say."""
    modules = sorted((Path(card.environment["LLAMAFILE_CACHE"])).glob("*.so"), key=lambda p: p.stat().st_mtime)
    if not modules:
        card.expect(False, "no module was built")
        return 0.0
    status, output, errors = card.run("gpu-probe", modules[-1], "--speed")
    card.expect(status == 0, f"probe: {output.strip() or errors.strip()}")
    return json.loads(output)["cards"][0].get("within", 0.0) if not status else 0.0


def main():
    """Run everything; the table and what is wrong come last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="SmolLM2-135M-Instruct, Q4_1")
    parser.add_argument("--work", type=Path, default=Path("/tmp/llamafile-card"))
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--gpu", default="nvidia")
    options = parser.parse_args()
    card = Card(options)
    for words in (["--version"], ["--list-devices"], ["--gpu", options.gpu, "--gpu-doctor"]):
        started = time.monotonic()
        status, output, errors = card.run(*words, limit=200)
        took = time.monotonic() - started
        print(f"== {' '.join(words)}: status {status} after {took:.1f} s\n{output}{errors}", flush=True)
        card.expect(status == 0, " ".join(words))
    bandwidth = bandwidth_of(card)
    texts(card, options.model)
    print("== speeds", flush=True)
    small = os.path.getsize(options.model)
    speeds(card, "SmolLM2 Q4_1, CPU", options.model, small, 0.0)
    speeds(card, "SmolLM2 Q4_1, card", options.model, small, bandwidth, "--gpu", options.gpu, "-ngl", "999")
    for shape, name in LARGE:
        if card.left() < 35:
            print(f"  left out for want of time: {shape} {name}", flush=True)
            continue
        started = time.monotonic()
        path = options.work / "random.gguf"
        weights = made_model.make(shape, name, options.model, path)
        print(f"  made {shape} {name} in {time.monotonic() - started:.1f} s", flush=True)
        speeds(card, f"{shape} {name}, card", path, weights, bandwidth, "--gpu", options.gpu, "-ngl", "999")
        if (shape, name) == ("7B", "Q4_0"):
            half = ["--gpu", options.gpu, "-ngl", "16"]
            speeds(card, f"{shape} {name}, 16 of 32 layers", path, weights, 0.0, *half, count=24)
        path.unlink()
    print(f"\nmemory: copies move {bandwidth / 1e9:.0f} GB/s\n"
          f"{'model':34} {'prompt t/s':>10} {'answer t/s':>9} {'GB/s':>9}   share")  # fmt: skip
    print("\n".join(card.rows))
    print("\n".join([f"{len(card.wrong)} things are wrong", *card.wrong]))
    return 1 if card.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""A peer's own bench program, llama-bench, run on the same GGUF in alternating rounds."""

from __future__ import annotations

import json
import subprocess

from .limits import Missing


def command(binary, path, prompt, answer, threads):
    """One repetition of a prompt and of an answer, told as JSON."""
    return [str(binary), "-m", str(path), "-p", str(prompt), "-n", str(answer), "-t", str(threads), "-r", "1",
            "-o", "json"]


def run(binary, path, prompt, answer, threads):
    """(tokens a second of the prompt, of the answer) by a peer; raises Missing where it cannot be had."""
    return parse(_said(command(binary, path, prompt, answer, threads)), prompt, answer)


def prompt(binary, path, tokens, threads):
    """Tokens a second of a prompt alone, with flash attention."""
    return _found(_said([*command(binary, path, tokens, 0, threads), "-fa", "1"]), n_prompt=tokens, n_gen=0)


def deep(binary, path, depth, answer, threads, cells):
    """Tokens a second of an answer behind `depth` tokens, with a cache of a format; asked one way or the other."""
    more = ["-fa", "1", "-ctk", cells, "-ctv", cells]
    ways = (
        [*command(binary, path, 0, answer, threads), "-d", str(depth)],
        [*command(binary, path, 0, 0, threads), "-gp", f"{depth},{answer}"],
    )
    try:
        return _found(_said([*ways[0], *more]), n_depth=depth, n_gen=answer)
    except Missing:
        return _found(_said([*ways[1], *more]), n_prompt=depth, n_gen=answer)


def _said(words):
    """What a peer wrote; raises Missing where it does not run to its end."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as problem:
        raise Missing(f"{words[0]}: {problem.strerror}; give the path of llama-bench as PEER") from None
    if done.returncode:
        raise Missing(f"{words[0]}: ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _found(text, **fields):
    """The speed of the one test that has these fields."""
    try:
        return next(float(test["avg_ts"]) for test in json.loads(text) if fields.items() <= test.items())
    except (ValueError, KeyError, AttributeError, StopIteration) as problem:
        raise Missing(f"llama-bench: its answer is not understood ({type(problem).__name__}: {problem})") from None


def parse(text, prompt, answer):
    """Find the two speeds in llama-bench's JSON: a list of tests, each with n_prompt, n_gen and avg_ts."""
    try:
        tests = {(test["n_prompt"], test["n_gen"]): float(test["avg_ts"]) for test in json.loads(text)}
        return tests[prompt, 0], tests[0, answer]
    except (ValueError, KeyError, TypeError) as problem:
        raise Missing(f"llama-bench: its answer is not understood ({type(problem).__name__}: {problem})") from None


def describe(binary, path, threads):
    """A line on the peer: its build, as it says itself."""
    done = subprocess.run([*command(binary, path, 1, 0, threads)], capture_output=True, text=True)
    try:
        first = json.loads(done.stdout)[0]
        return f"{binary}: build {first.get('build_number')} {first.get('build_commit')}, {first.get('cpu_info')}"
    except (ValueError, LookupError):
        raise Missing(f"{binary}: is not llama-bench, or cannot read {path}: {done.stderr.strip()[-300:]}") from None

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
    words = command(binary, path, prompt, answer, threads)
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as problem:
        raise Missing(f"{binary}: {problem.strerror}; give the path of llama-bench as PEER") from None
    if done.returncode:
        raise Missing(f"{binary}: ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
    return parse(done.stdout, prompt, answer)


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

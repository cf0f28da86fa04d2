"""The program itself, run with and without guesses: the same bytes on stdout, whatever the flags."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

LIST = "".join(f"{i}. The cat sat on mat {i % 3} and said hello to dog {i % 3}.\n" for i in range(1, 30))


def run(model, *flags, typed=""):
    """(stdout, the line of timings) of a run."""
    command = [sys.executable, "-m", "llamafile", "-m", model, "-t", "2", *flags]
    done = subprocess.run(command, capture_output=True, text=True, input=typed, timeout=300)
    assert not done.returncode, done.stderr
    return done.stdout, done.stderr.splitlines()[-1]


def guessed(line):
    """How many guesses a line of timings tells of, and how many of them were right."""
    found = re.search(r"; (\d+) of (\d+) guessed tokens were right$", line)
    return (int(found[2]), int(found[1])) if found else (0, 0)


CASES = {
    "greedy": ["--temp", "0"],
    "drawn": ["--temp", "0.9", "-s", "5"],
    "penalties": ["--temp", "0.7", "-s", "6", "--repeat-penalty", "1.1", "--dry-multiplier", "0.3"],
    "a grammar": ["--temp", "0.8", "-s", "7", "--grammar",
                  'root ::= ([0-9]+ ". " [A-Z] [a-z ]+ [0-9] [a-z ]+ [0-9] ".\\n")+'],
    "a bias": ["--temp", "0.8", "-s", "3", "-l", "30-5", "-l", "260+1"],
    "a reverse prompt": ["--temp", "0", "-r", "dog 1", "-n", "90"],
    "a full context": ["--temp", "0", "-c", "600", "-n", "300", "--keep", "8"],
    "batches of one": ["--temp", "0", "-b", "1"],
    "a short bound": ["--temp", "0", "-n", "7"],
}


@pytest.mark.models
@pytest.mark.parametrize("case", CASES)
def test_completion(smollm2, case):
    flags = ["-p", LIST, "--no-display-prompt", "-n", "80", "-c", "2048", *CASES[case]]
    plain, none = run(smollm2, *flags, "--no-lookup")
    text, some = run(smollm2, *flags)
    assert guessed(none) == (0, 0)
    assert text == plain
    drafted, right = guessed(some)
    if case in ("greedy", "a full context", "a grammar"):
        assert drafted >= right > 0


@pytest.mark.models
def test_conversation_and_prompt_cache(smollm2, tmp_path):
    typed = "Say again word for word: " + LIST[:300].replace("\n", " ") + "\nAnd once more, please.\nThanks.\n"
    flags = ["-cnv", "--temp", "0", "-n", "60", "-c", "1024"]
    assert run(smollm2, *flags, typed=typed)[0] == run(smollm2, *flags, "--draft-max", "0", typed=typed)[0]
    cache = ["-p", LIST, "--temp", "0", "-n", "40", "--prompt-cache-all", "--prompt-cache"]
    first = run(smollm2, *cache, str(tmp_path / "with"))[0]
    assert first == run(smollm2, *cache, str(tmp_path / "without"), "--no-lookup")[0]
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()


@pytest.mark.models
def test_a_draft_model_that_is_the_model_itself(smollm2):
    flags = ["-p", "The three primary colours are", "--temp", "0.8", "-s", "4", "-n", "60", "-c", "512"]
    plain, _ = run(smollm2, *flags, "--spec-type", "none")
    text, _ = run(smollm2, *flags, "-md", smollm2, "--no-lookup", "-cd", "256", "-ctkd", "q8_0")
    assert text == plain


@pytest.mark.models
def test_what_cannot_be_is_said_in_one_line(smollm2, tinycoder):
    def refused(*flags):
        command = [sys.executable, "-m", "llamafile", "-m", smollm2, "-p", "x", "-n", "1", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode
        assert not done.stdout
        return done.stderr.splitlines()[-1]

    assert re.search(r"^llamafile: -md: .*has another vocabulary than .*; take a small", refused("-md", tinycoder))
    assert "--spec-type: eagle is not there; choose from" in refused("--spec-type", "eagle")
    assert "--spec-type draft: needs a draft model" in refused("--spec-type", "draft")
    assert "nosuch.gguf" in refused("-md", "nosuch.gguf")
    assert "--draft-max: -1 is not between 0 and" in refused("--draft-max", "-1")

"""What the documentation of llamafile and llama.cpp tells people to type, run by a shell as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from llamafile import __main__

pytestmark = pytest.mark.models

LATER = "not in this version yet"
JSON = r'''root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}"  # members in any number
array ::= "[" ws (value ("," ws value)*)? "]"
string ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
ws ::= [ \t\n]{0,20}
'''


@pytest.fixture(scope="module")
def shell(tinycoder, tmp_path_factory):
    """A function that runs a line in a folder with models under the names of the examples, and `llamafile` on PATH."""
    folder = tmp_path_factory.mktemp("examples")
    program = folder / "bin" / "llamafile"
    program.parent.mkdir()
    root = os.path.dirname(os.path.dirname(__main__.__file__))
    program.write_text(f"#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m llamafile \"$@\"\n")
    program.chmod(0o755)
    for name in ("mistral", "wizardcoder-python-13b-v1.0.Q8_0", "llama-65b-Q5_K", "m", "llava-v1.5-7b-Q4_K"):
        (folder / f"{name}.gguf").symlink_to(tinycoder)
    (folder / "page.txt").write_text("Llamas are members of the camelid family.\n")
    (folder / "grammars").mkdir()
    (folder / "grammars" / "json.gbnf").write_text(JSON)
    (folder / "prompts").mkdir()
    (folder / "prompts" / "chat-with-bob.txt").write_text("A dialog.\n\nUser: Hello, Bob.\nBob: Hi.\nUser:")
    keys = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}

    def run(line, typed=""):
        environment = {**keys, "PATH": f"{program.parent}:{os.environ['PATH']}", "LLAMA_ARG_THREADS": "1"}
        return subprocess.run(line, shell=True, cwd=folder, env=environment, input=typed, capture_output=True,
                              text=True, timeout=300)

    return run


def test_mistral(shell):
    done = shell("llamafile -m mistral.gguf -ngl 9999 --temp 0.7 -n 8 -p '[INST]Write a story about llamas[/INST]'")
    assert done.returncode == 0 and done.stdout.startswith("[INST]Write a story about llamas[/INST]")


def test_wizardcoder(shell):
    done = shell(r"""llamafile -ngl 9999 -m wizardcoder-python-13b-v1.0.Q8_0.gguf --temp 0 -n 8 -r '}\n' -r '```\n' """
                 r"""-e -p '```c\nvoid *memcpy(void *dst, const void *src, size_t size) {\n'""")
    assert done.returncode == 0
    assert done.stdout.startswith("```c\nvoid *memcpy(void *dst, const void *src, size_t size) {\n")


def test_digital_athena(shell):
    done = shell("llamafile -m llama-65b-Q5_K.gguf -n 4 -p 'The following is a conversation between a Researcher and "
                 "their AI assistant ...\nResearcher:' --interactive --color --batch_size 1024 --ctx_size 1000 "
                 "--keep -1 --temp 0 --mirostat 2 --in-prefix ' ' --interactive-first --in-suffix 'Digital Athena:' "
                 "--reverse-prompt 'Researcher:'", typed="What is best in life?\n")
    assert done.returncode == 0
    assert "AI assistant ...\nResearcher: Digital Athena:" in done.stdout and "\x1b" not in done.stdout


def test_summary_of_a_pipe(shell):
    done = shell("( echo '[INST]Summarize the following text:'; cat page.txt; echo '[/INST]' ) | llamafile -ngl 9999 "
                 "-m mistral.gguf -f /dev/stdin -c 0 --temp 0 -n 10 --no-display-prompt 2>/dev/null")
    assert done.returncode == 0 and done.stdout and "INST" not in done.stdout and done.stderr == ""


def test_answers_go_into_pipes(shell):
    done = shell("llamafile -m m.gguf --temp 0 -n 5 -p 'x' --no-display-prompt 2>/dev/null | sed -e's/ /_/g' "
                 "-e's/$/.jpg/'")
    assert done.stdout.endswith(".jpg\n") and " " not in done.stdout


def test_yes_or_no(shell):
    done = shell("llamafile -m m.gguf -p x --temp 0 --no-display-prompt --grammar 'root ::= \"yes\" | \"no\"' "
                 "2>/dev/null")
    assert done.returncode == 0 and done.stdout in ("yes\n", "no\n")


def test_a_name_for_a_picture(shell):
    done = shell("llamafile -m m.gguf -p x --temp 0 -n 20 --no-display-prompt --grammar "
                 "'root ::= [a-z]+ (\" \" [a-z]+)+' 2>/dev/null | sed -e's/ /_/g' -e's/$/.jpg/'")
    assert re.fullmatch(r"[a-z_]+\.jpg\n", done.stdout)


def test_a_grammar_in_a_file(shell):
    done = shell("llamafile -m m.gguf --temp 0 -n 30 --no-display-prompt --grammar-file grammars/json.gbnf "
                 "-p 'Request: schedule a call at 8pm; Command:'")
    assert done.returncode == 0 and done.stdout.startswith("{")


@pytest.mark.parametrize(("flags", "line"), [
    ("--grammar 'root ::= [a-z'", "--grammar: line 1, column 10: this class is not closed on its line"),
    ("--grammar-file page.txt", "--grammar-file page.txt: line 1, column 8: expected ::="),
    ("-j '{\"not\": {}}'", "--json-schema: $/not: this keyword is not served"),
])
def test_a_grammar_that_is_wrong_is_one_line(shell, flags, line):
    done = shell(f"llamafile -m m.gguf -p x {flags}")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.endswith(f"llamafile: {line}\n")


@pytest.mark.parametrize(("line", "flag"), [
    ("llamafile -ngl 9999 --temp 0 --image ~/Pictures/lemurs.jpg -m llava-v1.5-7b-Q4_K.gguf --mmproj "
     "llava-v1.5-7b-mmproj-Q4_0.gguf -e -p '### User: What do you see?\\n### Assistant: ' --no-display-prompt",
     "--image"),
    ("llamafile -ngl 9999 -m llava.gguf --mmproj mmproj.gguf --host 0.0.0.0", "--mmproj"),
])
def test_what_comes_later_is_one_line(shell, line, flag):
    done = shell(line)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"llamafile: {flag}: {LATER}; remove it\n"


def test_a_question_through_a_pipe(shell):
    done = shell("llamafile -m mistral.gguf -ngl 9999 -n 5 --temp 0 --chat-template chatml < page.txt")
    asked = shell("llamafile -m m.gguf -n 5 --temp 0 --chat-template chatml -cnv -st -p "
                  "'Llamas are members of the camelid family.'")
    assert done.returncode == 0 and done.stdout == asked.stdout != "\n"
    silent = shell("llamafile -m m.gguf --port 8080")
    assert silent.returncode == 1 and silent.stderr.startswith("llamafile: standard input: is empty; ")


def test_meaning_of_life(shell):
    done = shell("llamafile -m m.gguf -p \"I believe the meaning of life is\" -n 6")
    assert done.returncode == 0 and done.stdout.startswith("I believe the meaning of life is")


def test_bob(shell):
    done = shell("llamafile -m m.gguf -n 256 --repeat_penalty 1.0 --color -i -r 'User:' -f prompts/chat-with-bob.txt",
                 typed="")
    assert done.returncode == 0 and done.stdout.endswith("User:\n") and "answer 0 tokens" in done.stderr


def test_own_marks_of_turns(shell):
    done = shell("llamafile -m m.gguf -cnv -p 'You are helpful.' --in-prefix 'User: ' --reverse-prompt 'User:' -n 3",
                 typed="hello\n")
    assert done.returncode == 0 and done.stdout.startswith("You are helpful.User: ")


def test_chatml(shell):
    done = shell("llamafile -m m.gguf -cnv -p 'You are helpful.' --chat-template chatml -n 3", typed="hello\n")
    assert done.returncode == 0 and "im_start" not in done.stdout and done.stdout


def test_prompt_cache(shell, tmp_path):
    line = f"llamafile -m m.gguf -p 'def main():' -n 3 --temp 0 --prompt-cache {tmp_path}/c --prompt-cache-all"
    first, second = shell(line), shell(line)
    assert first.stdout == second.stdout and "prompt 1 tokens" in second.stderr

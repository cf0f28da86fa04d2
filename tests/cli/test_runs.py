"""The command line with real weights, as a process: streams, signals, terminals, caches, archives."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from llamafile.gguf import layout
from llamafile.gguf.reader import open_path
from tests.cli.boxes import aligned

pytestmark = pytest.mark.models

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}
PROGRAM = [sys.executable, "-m", "llamafile"]
GREEDY = ["--temp", "0", "-t", "1"]
PATIENCE = 300  # seconds, which only a failure takes: the machine may do other things too


def run(model, *words, **more):
    """Run to the end and return the finished process; text streams, nothing on the standard input."""
    options = {"capture_output": True, "text": True, "env": ENVIRONMENT, "stdin": subprocess.DEVNULL,
               "timeout": PATIENCE, **more}
    return subprocess.run([*PROGRAM, "-m", model, "-t", "1", *words], **options)


def answer(model, *words, **more):
    done = run(model, *words, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_answer_and_timings_have_their_own_streams(tinycoder):
    done = run(tinycoder, "-p", "def f(", "-n", "8", *GREEDY)
    assert done.returncode == 0 and done.stdout.startswith("def f(") and done.stdout.endswith("\n")
    first, last = done.stderr.splitlines()
    assert re.fullmatch(r"llamafile: .*; \w+, 1 threads, context 2048", first)
    assert re.fullmatch(r"llamafile: load [\d.]+ s; prompt 4 tokens in [\d.]+ s \([\d.]+ a second\); "
                        r"answer 8 tokens in [\d.]+ s \([\d.]+ a second\)", last)
    quiet = run(tinycoder, "-p", "def f(", "-n", "8", *GREEDY, "--log-disable")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    only = run(tinycoder, "-p", "def f(", "-n", "8", *GREEDY, "--no-display-prompt", "--no-perf")
    assert "def f(" + only.stdout == done.stdout and only.stderr.count("\n") == 1


def test_seeds(tinycoder):
    texts = [answer(tinycoder, "-p", "x", "-n", "12", "--temp", "1", "--seed", seed) for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]
    assert answer(tinycoder, "-p", "x", "-n", "8", "--top-k", "1") == answer(tinycoder, "-p", "x", "-n", "8", *GREEDY)


def test_prompt_from_a_pipe(tinycoder):
    options = ("-c", "0", "-n", "6", *GREEDY)
    piped = answer(tinycoder, "-f", "/dev/stdin", *options, stdin=None, input="def f(\n")
    assert piped == answer(tinycoder, "-p", "def f(", *options)


def test_what_has_no_effect_changes_nothing(tinycoder):
    done = run(tinycoder, "-p", "x", "-n", "4", *GREEDY, "-ot", "x=CPU", "--no-warmup", "--host", "0.0.0.0")
    assert done.stdout == answer(tinycoder, "-p", "x", "-n", "4", *GREEDY)
    assert done.stderr.splitlines()[0] == "llamafile: -ot: has no effect; layers are offloaded whole"


@pytest.mark.parametrize("flags", [["--no-mmap"], ["--mlock"], ["--repack"], ["-rtr", "--no-mmap", "--mlock"],
                                   ["-b", "3", "-ub", "2"], ["-ctk", "f16", "-ctv", "f16"]])
def test_flags_about_memory_leave_the_text_alone(tinycoder, flags):
    prompt = ["-p", "def main(argv): return", "-n", "6", *GREEDY]
    assert answer(tinycoder, *prompt, *flags) == answer(tinycoder, *prompt)


def test_weights_laid_out(smollm2, tmp_path):
    """In memory or in the file: the same text, also of a plain file's cached prompt."""
    prompt, cache = ["-p", "The sea is full of", "-n", "6", *GREEDY], str(tmp_path / "cache")
    plain = answer(smollm2, *prompt, "--prompt-cache", cache)
    done = run(smollm2, *prompt, "-rtr", "--prompt-cache", cache)
    assert done.returncode == 0 and done.stdout == plain
    assert re.search(r"llamafile: --repack: \d+ MiB of weights laid out in memory in [\d.]+ s", done.stderr)
    laid = tmp_path / "laid.gguf"
    with open_path(smollm2) as file, open(laid, "wb") as out:
        out.writelines(layout.file_bytes(file, 0, True))
    assert answer(laid, *prompt) == plain
    again = run(laid, *prompt, "--repack")
    assert again.stdout == plain and "nothing to lay out, or is laid out already" in again.stderr


def test_bias_and_banned_ends(tinycoder):
    text = answer(tinycoder, "-p", "x", "-n", "3", *GREEDY, "--logit-bias", "22172+1000")
    assert text.endswith("hello hello hello\n")
    bad = run(tinycoder, "-p", "x", "--logit-bias", "22172")
    assert bad.returncode == 1 and bad.stderr.startswith("llamafile: --logit-bias: '22172' is not ")


def test_context_shift(tinycoder):
    done = run(tinycoder, "-p", "one two three", "-c", "64", "-n", "150", "--keep", "-1", *GREEDY, "--ignore-eos")
    assert done.returncode == 0 and "answer 150 tokens" in done.stderr
    full = run(tinycoder, "-p", "one two three", "-c", "64", "-n", "-2", *GREEDY, "--ignore-eos")
    assert full.returncode == 0 and "context: its 64 tokens are full; the answer ends here" in full.stderr


def test_prompt_cache(tinycoder, smollm2, tmp_path):
    cache = str(tmp_path / "cache")
    prompt = ["-p", "def main(argv):\n    return", "-n", "6", *GREEDY]
    first = run(tinycoder, *prompt, "--prompt-cache", cache)
    assert first.stdout == answer(tinycoder, *prompt)
    before = os.stat(cache)
    second = run(tinycoder, *prompt, "--prompt-cache", cache)
    assert second.stdout == first.stdout and "prompt 1 tokens" in second.stderr
    assert os.stat(cache).st_mtime_ns == before.st_mtime_ns
    longer = run(tinycoder, "-p", "def main(argv):\n    return 1 + 2", "-n", "6", *GREEDY, "--prompt-cache", cache,
                 "--prompt-cache-ro")
    assert longer.stdout == answer(tinycoder, "-p", "def main(argv):\n    return 1 + 2", "-n", "6", *GREEDY)
    assert os.stat(cache).st_mtime_ns == before.st_mtime_ns
    other = run(smollm2, "-p", "x", "-n", "1", "--prompt-cache", cache)
    assert other.returncode == 1 and "belongs to another model" in other.stderr
    (tmp_path / "junk").write_bytes(b"junk")
    assert run(tinycoder, *prompt, "--prompt-cache", str(tmp_path / "junk")).returncode == 1


def test_prompt_cache_of_everything_goes_on(tinycoder, tmp_path):
    cache = str(tmp_path / "cache")
    whole = answer(tinycoder, "-p", "def", "-n", "12", *GREEDY)
    begun = answer(tinycoder, "-p", "def", "-n", "6", *GREEDY, "--prompt-cache", cache, "--prompt-cache-all")
    more = run(tinycoder, "--cli", "-n", "6", *GREEDY, "--prompt-cache", cache)
    assert begun.rstrip("\n") + more.stdout == whole and "prompt 1 tokens" in more.stderr


def test_weights_in_an_archive(tinycoder, tmp_path):
    with open(tinycoder, "rb") as file:
        aligned(tmp_path / "box", {"tiny.gguf": file.read()})
    prompt = ["-p", "def", "-n", "5", *GREEDY]
    expected = answer(tinycoder, *prompt)
    assert answer(f"{tmp_path}/box", *prompt) == answer(f"{tmp_path}/box@tiny.gguf", *prompt) == expected


def test_verbose_names_the_seed_that_repeats_the_run(tinycoder):
    first = run(tinycoder, "-p", "x", "-n", "8", "--temp", "1.5", "-v")
    seed = re.search(r"^llamafile: seed (\d+); temperature 1\.5, ", first.stderr, re.MULTILINE)[1]
    assert answer(tinycoder, "-p", "x", "-n", "8", "--temp", "1.5", "--seed", seed) == first.stdout


def test_verbose_prompt(tinycoder):
    done = run(tinycoder, "-p", "x y", "-n", "1", "--verbose-prompt", "--print-token-count", "1")
    listed = re.findall(r"^llamafile: +(\d+) (b?'.*')$", done.stderr, re.MULTILINE)
    assert listed[0] == ("1", "'<s>'") and len(listed) == 3 and "llamafile: 1 tokens" in done.stderr


def test_reader_that_leaves(tinycoder):
    command = " ".join([*PROGRAM, "-m", tinycoder, "-p", "x", "-n", "400", "-t", "1", "--ignore-eos"])
    done = subprocess.run(["bash", "-c", f"{command} | head -c 20; echo ${{PIPESTATUS[0]}}"], env=ENVIRONMENT,
                          capture_output=True, timeout=PATIENCE)  # bytes: the cut may go through a character
    assert done.stdout.endswith(b"141\n") and b"Traceback" not in done.stderr and b"rror" not in done.stderr


def test_full_output(tinycoder):
    with open("/dev/full", "w") as full:
        done = run(tinycoder, "-p", "x", "-n", "4", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "llamafile: standard output: No space left on device; see what it leads to"


def test_pipe_that_does_not_block_and_is_full(tinycoder):
    """Behind the sandbox's door, where nothing can be loaded to wait with."""
    words = ["-p", "x", "-n", "1500", "--temp", "1", "--seed", "5", "--ignore-eos", "--log-disable"]
    whole = answer(tinycoder, *words)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: one page, which is full long before the end
    running = subprocess.Popen([*PROGRAM, "-m", tinycoder, "-t", "1", *words], env=ENVIRONMENT, stdout=writer,
                               stdin=subprocess.DEVNULL)
    os.close(writer)
    while waiting(reader) < 4096 - 64:  # less room than for the next piece or two
        assert running.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    with open(reader, "rb") as file:
        assert file.read().decode() == whole
    assert running.wait(PATIENCE) == 0 and len(whole) > 4096


def waiting(fd):
    """How many bytes a pipe holds."""
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]


def test_ctrl_c_in_a_pipeline(tinycoder):
    running = subprocess.Popen([*PROGRAM, "-m", tinycoder, "-p", "x", "-t", "1", "--ignore-eos"], env=ENVIRONMENT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    begun = os.read(running.stdout.fileno(), 1) + os.read(running.stdout.fileno(), 4096)
    running.send_signal(signal.SIGINT)
    rest, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130 and (begun + rest).endswith(b"\n")
    assert b"Traceback" not in errors and b"load " in errors


# A conversation that makes sense.

def test_chat_by_the_models_template(smollm2):
    done = run(smollm2, "-cnv", "-p", "You answer in one word.", "-n", "24", *GREEDY, stdin=None,
               input="What is the capital of France?\nAnd of Italy?\n")
    first, second = done.stdout.splitlines()
    assert "Paris" in first and "Rome" in second


def test_code_stops_at_the_reverse_prompt(smollm2):
    prompt = ["-e", "-r", "```\\n", "-r", "```", "-p", "```python\\nprint('hello')\\n"]
    text = answer(smollm2, *prompt, "-n", "40", *GREEDY)
    assert text.startswith("```python\nprint('hello')\n") and text.count("```") == 2 and text.rstrip().endswith("```")


# Terminals.

# Makes its standard input the terminal whose Ctrl-C it gets, then becomes another program.
TAKE_TERMINAL = ("import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
                 "os.execv(sys.argv[1], sys.argv[1:])")


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *words):
        self.fd, theirs = os.openpty()
        self.process = subprocess.Popen([sys.executable, "-c", TAKE_TERMINAL, *PROGRAM, *words], stdin=theirs,
                                        stdout=theirs, stderr=theirs, env={**ENVIRONMENT, "TERM": "xterm"})
        os.close(theirs)
        self.seen = b""

    def wait(self, pattern, seconds=PATIENCE):
        """Read until a pattern matches what has not been matched yet, and return the match."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:  # the other side is closed
                    assert re.search(pattern, self.seen), self.seen
        self.seen = self.seen[found.end() :]
        return found

    def type(self, text):
        os.write(self.fd, text.encode())

    def status(self, seconds=PATIENCE):
        """The exit status; what is still to come is read so that the program can end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    break
        status = self.process.wait(max(1, end - time.monotonic()))
        os.close(self.fd)
        return status


def test_turns_on_a_terminal(tinycoder):
    terminal = Terminal("-m", tinycoder, "-t", "1", "-p", "User:", "-i", "-r", "User:", "-n", "3", "--log-disable",
                        "--temp", "0", "--in-prefix", " ")
    terminal.wait(rb"User: ")
    terminal.type("hello\n")
    terminal.wait(rb"(?s)hello\r\n.+ ")
    terminal.type("\x04")  # the end of the input
    assert terminal.status() == 0


def test_ctrl_c_gives_the_turn_back_and_then_leaves(tinycoder):
    terminal = Terminal("-m", tinycoder, "-t", "1", "-p", "Hi.", "-i", "--ignore-eos", "--log-disable", "--in-prefix",
                        "<your turn>")
    terminal.wait(rb"(?s)Hi\..{20}")
    terminal.type("\x03")
    terminal.wait(rb"\r\n<your turn>")
    terminal.type("go on\n")
    terminal.wait(rb"(?s)go on\r\n.{10}")
    terminal.type("\x03")
    terminal.wait(rb"<your turn>")
    terminal.type("\x03")
    assert terminal.status() == 130


def test_colours_only_on_a_terminal(tinycoder):
    words = ["-m", tinycoder, "-t", "1", "-p", "Hi.", "-n", "2", "--color", "--log-disable"]
    terminal = Terminal(*words)
    terminal.wait(rb"\x1b\[0m\x1b\[33mHi\.\x1b\[0m")
    assert terminal.status() == 0
    assert "\x1b" not in answer(tinycoder, *words[2:])
    for flags in (["--color", "off"], ["--simple-io"]):
        terminal = Terminal(*words, *flags)
        assert terminal.status() == 0 and b"\x1b" not in terminal.seen


def test_leaving_restores_the_colour(tinycoder):
    terminal = Terminal("-m", tinycoder, "-t", "1", "-p", "Hi.", "-if", "--color", "--log-disable")
    terminal.wait(rb"\x1b\[32m")
    terminal.type("\x03")
    assert terminal.status() == 130 and b"\x1b[0m" in terminal.seen


def test_chat_on_a_terminal(smollm2):
    terminal = Terminal("-m", smollm2, "-t", "1", "-cnv", "-n", "16", "--temp", "0", "--log-disable", "-p",
                        "You answer in one word.")
    terminal.wait(rb"> ")
    terminal.type("What is the capital of France?\n")
    terminal.wait(rb"Paris[^>]*\r\n> ")
    terminal.type("\x03")
    assert terminal.status() == 130

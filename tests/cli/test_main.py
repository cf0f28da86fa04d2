"""The program from outside: dispatch, exit codes, standard streams, and one line for everything a user can cause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from llamafile import VERSION, __main__
from runtime import cpu

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}


def llamafile(*words, **more):
    options = {"capture_output": True, "text": True, "env": ENVIRONMENT, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run([sys.executable, "-m", "llamafile", *words], **options)


def line_of(*words, **more):
    """Run what must fail, and return its one line."""
    done = llamafile(*words, **more)
    assert done.returncode == 1 and done.stdout == "", (done.stdout, done.stderr)
    assert done.stderr.startswith("llamafile: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr.removeprefix("llamafile: ").rstrip("\n")


def test_without_arguments_help():
    done = llamafile()
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == llamafile("--help").stdout == llamafile("-h").stdout
    assert "llamafile [FLAGS] -m MODEL.gguf -p PROMPT" in done.stdout


def test_version():
    done = llamafile("--version")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == f"llamafile {VERSION} (source tree)"
    assert lines[1] == f"Python {sys.version.split()[0]}"
    assert lines[2].startswith(f"instruction set {cpu.chosen()}")
    assert all(name in lines[2] for name in cpu.names())


def test_flags_that_answer_win_over_the_rest():
    assert llamafile("-m", "nothing.gguf", "-p", "x", "--version").stdout.startswith("llamafile ")


@pytest.mark.parametrize(("words", "line"), [
    (["-m", "no.gguf", "-p", "x"], "no.gguf: there is no such file; check the name"),
    (["-p", "x"], "-m: there is no model in this executable; name a .gguf file"),
    (["--image", "x.png", "-p", "x"], "--image: not in this version yet; remove it"),
    (["-m", "x.gguf", "--port", "0"], "x.gguf: there is no such file; check the name"),
    (["--chat", "-m", "x.gguf"], "x.gguf: there is no such file; check the name"),
    (["--server", "--port", "0"], "-m: there is no model in this executable; name a .gguf file"),
    (["--verify"], "--verify: this program runs from its sources; there is no executable to check"),
    (["frob"], "'frob': is no flag; a model is given by -m, a prompt by -p"),
    (["-f", "no.txt"], "no.txt: cannot be read: No such file or directory; check the name"),
    (["info"], None),
    (["convert"], None),
    (["--isa", "mmx", "-m", "x", "-p", "x"], None),
])
def test_one_line(words, line):
    found = line_of(*words)
    assert line is None or found == line


def test_odd_names_are_shown_whole():
    assert line_of("-m", b"\xff\xc3\xa9.gguf", "-p", "x", errors="surrogateescape") == (
        "\udcffé.gguf: there is no such file; check the name")


def test_line_breaks_in_names_stay_in_one_line():
    assert line_of("-m", "a\nb.gguf", "-p", "x") == "a b.gguf: there is no such file; check the name"


def test_full_output():
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        done = llamafile("--help", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr == "llamafile: standard output: No space left on device; see what it leads to\n"


def test_broken_pipe_is_silent():
    there, here = os.pipe()
    os.close(there)
    done = llamafile("--help", stdout=here, stderr=subprocess.PIPE, capture_output=False)
    os.close(here)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_closed_descriptors():
    done = subprocess.run(f"exec {sys.executable} -m llamafile --version >&- 2>&- <&-", shell=True, env=ENVIRONMENT)
    assert done.returncode in (0, 1)
    done = subprocess.run(f"exec {sys.executable} -m llamafile -m no.gguf -p x 2>&-", shell=True, env=ENVIRONMENT)
    assert done.returncode == 1


def test_environment_is_read():
    assert line_of("-p", "x", env={**ENVIRONMENT, "LLAMA_ARG_MODEL": "from-the-environment.gguf"}) == (
        "from-the-environment.gguf: there is no such file; check the name")


def test_bugs_keep_their_traceback(monkeypatch):
    def broken(words):
        raise AssertionError("a bug")

    monkeypatch.setattr(__main__, "run", broken)
    with pytest.raises(AssertionError, match="a bug"):
        __main__.main([])


def test_interrupts_and_memory(monkeypatch, capfd):
    def raises(what):
        def run(words):
            raise what
        monkeypatch.setattr(__main__, "run", run)
        return __main__.main([])

    assert raises(KeyboardInterrupt()) == 130
    assert raises(MemoryError()) == 1
    assert capfd.readouterr().err.startswith("llamafile: memory: there is not enough; ")
    from runtime.ops import RuntimeFault

    assert raises(RuntimeFault("thing: is wrong; mend it")) == 1
    assert capfd.readouterr().err == "llamafile: thing: is wrong; mend it\n"


@pytest.mark.parametrize(("words", "what"), [
    (["info", "x"], "llamafile.info.describe"),
    (["quantize", "in.gguf", "out.gguf", "Q8_0"], "llamafile.quantize.convert"),
    (["perplexity", "-p", "x"], "llamafile.perplexity.score"),
])
def test_ctrl_c_in_a_command(words, what, monkeypatch, capsys):
    """Click turns it into an exception of its own."""
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(what, interrupted)
    assert __main__.main(words) == 130
    said = capsys.readouterr()
    assert said.out == "" and not said.err.strip()


# What the way from the start to the first token may load beside our own modules.
ALLOWED = {"sys", "os", "struct", "_struct", "mmap", "time", "_cffi_backend", "__future__", "_signal", "posix", "errno"}


def test_reading_a_command_line_loads_next_to_nothing():
    program = ("import sys; before = set(sys.modules); sys.path += sys.argv[1:]; "
               "import llamafile.__main__, llamafile.arguments, llamafile.args_file, llamafile.cli, "
               "llamafile.cli.texts, llamafile.cli.completion, llamafile.cli.interrupt, llamafile.cli.output, "
               "llamafile.cli.timeline; print(*sorted(set(sys.modules) - before))")
    root = os.path.dirname(os.path.dirname(__main__.__file__))
    site = os.path.dirname(os.path.dirname(pytest.__file__))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, root, site], capture_output=True, text=True,
                          check=True)
    startup = {"_collections_abc", "_stat", "genericpath", "os.path", "posixpath", "stat"}  # what os brings along
    ours = ("llamafile", "zipalign", "runtime", "gpu_modules")
    strange = {name for name in done.stdout.split() if name.split(".")[0] not in ours} - ALLOWED - startup
    assert strange == set()

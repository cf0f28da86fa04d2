"""--help, man pages and completion: all made from the tables, and all of the tables in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from llamafile import help, manual
from llamafile.flags import GROUPS, TABLE
from llamafile.flags.row import LATER


@pytest.fixture(scope="module")
def text():
    return help.as_text(help.sections())


@pytest.fixture(params=["llamafile", "zipalign"])
def page(request):
    return help.as_roff(help.page_of(request.param), request.param)


def test_every_flag_is_in_the_help(text):
    words = set(re.findall(r"--?[A-Za-z0-9][\w-]*", text.replace("-\n", "-")))
    joined = "".join(text.split())
    for flag in TABLE:
        for name in flag.names + flag.off:
            assert name in words or name in joined, name
    coming = text.partition("NOT IN THIS VERSION YET")[2].partition("FILES:")[0]
    assert all(flag.names[0] in "".join(coming.split()) for flag in TABLE if flag.status == LATER)


def test_lines_fit_a_terminal(text):
    assert max(map(len, text.splitlines())) <= 100


def test_defaults_and_environment_are_told(text):
    squeezed = " ".join(text.split())
    assert "Temperature; 0 always takes the likeliest token. Default: 0.8. [LLAMA_ARG_TEMPERATURE]" in squeezed
    assert "Default: auto." in squeezed and "999 or all means all." in squeezed


def test_groups_that_do_nothing_say_so(text):
    groups = {title for title, _ in GROUPS}
    assert set(manual.GROUP_NOTES) <= groups
    assert all(note in " ".join(text.split()) for note in manual.GROUP_NOTES.values())


def test_exit_codes_are_documented(text):
    section = text.partition("EXIT STATUS:")[2].partition("EXAMPLES:")[0]
    assert all(code in section for code, _ in manual.EXIT_CODES)


def test_man_pages_render_without_a_warning(page, tmp_path):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    done = subprocess.run(["groff", "-man", "-ww", "-Tascii"], input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "EXIT STATUS" not in done.stderr and "SEE ALSO" in re.sub(r".\x08", "", done.stdout)


def test_man_page_escapes_what_roff_would_read(page):
    lines = page.splitlines()
    commands = {line.split()[0] for line in lines if line.startswith(".")}
    assert commands <= {".TH", ".SH", ".PP", ".TP", ".nf", ".fi", ".RS", ".RE"}
    assert not any(line.startswith("'") for line in lines)
    for line in lines:
        assert not re.search(r"\\(?![-e&(fR])", line), line


def test_man_page_of_llamafile_has_every_flag():
    plain = help.as_roff(help.page_of("llamafile"), "llamafile").replace("\\-", "-")
    assert all(name in plain for flag in TABLE for name in flag.names + flag.off)


def test_program_writes_man_pages():
    for name in ("llamafile", "zipalign"):
        done = subprocess.run([sys.executable, "-m", "llamafile.help", "--man", name], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith(f".TH {name.upper()} 1 ")


def test_completion():
    script = help.bash_script()
    assert help.COMPLETE in script and "llamafile" in script
    environment = {**os.environ, help.COMPLETE: "bash_complete", "COMP_CWORD": "1"}

    def complete(words, at):
        done = subprocess.run([sys.executable, "-m", "llamafile"], capture_output=True, text=True,
                              env={**environment, "COMP_WORDS": words, "COMP_CWORD": str(at)})
        assert done.returncode == 0, done.stderr
        return {line.partition(",")[2] for line in done.stdout.splitlines() if line}

    assert complete("llamafile --top-", 1) == {"--top-k", "--top-p", "--top-nsigma", "--top-n-sigma"}
    assert "--no-mmap" in complete("llamafile --no-", 1) and "--no-display-prompt" in complete("llamafile --no-", 1)
    assert complete("llamafile -ctk q8", 2) == {"q8_0"}
    assert complete("llamafile --imag", 1) == set()  # refused flags are not offered

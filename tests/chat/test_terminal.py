"""The chat of the built executable in a real terminal: what is typed, pressed, pasted and resized, and what is seen."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
import time

import pytest

from .tmux import CTRL_C, CTRL_D, CTRL_J, ENTER, TAB, UP, Terminal

pytestmark = [pytest.mark.built, pytest.mark.models]

HELPFUL = ("-sys", "You are a helpful AI assistant.", "--temp", "0")
FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."


@pytest.fixture
def start(engine, smollm2, tmp_path):
    """A function that starts the executable with a model in a terminal; all of them end with the test."""
    opened = []

    def starts(*words, model=smollm2, **more):
        terminal = Terminal(tmp_path, engine, *(("-m", model) if model else ()), *words, **more)
        opened.append(terminal)
        return terminal

    yield starts
    for terminal in opened:
        terminal.__exit__()


def test_a_conversation_and_its_commands(start, tmp_path):
    chat = start("--chat", *HELPFUL, columns=140, rows=70)
    assert re.search(r"llama, 13\d M parameters, .*\nllamafile .*; context 8,192, .* threads\n", chat.prompt())
    chat.say(FRANCE)
    chat.wait(rf"^>>> {re.escape(FRANCE)}\n\n{re.escape(PARIS)}\n\n>>> ")
    chat.say("/stats").wait(r"^answer +8 tokens in [\d.]+ s, [\d.]+ a second\n(.*\n)*"
                            r"context +36 of 8,192 tokens \(0 %\)")
    chat.say("/context").wait(r"^37 of 8,192 tokens \(0 %\) in use, 3 messages\n +12  system +You are .*\n"
                              rf" +12  user .*\n +13  assistant +{PARIS}")
    chat.say("/push").wait("^3 messages kept, 1 on the stack")
    chat.say("/stack").wait(rf"^  1 +3 messages  assistant +{PARIS}")
    chat.say("/undo").wait(rf"^2 messages taken back: {re.escape(FRANCE)}")
    chat.say("/pop").wait("^back to 3 messages; 0 left on the stack")
    chat.say("/regen").wait(rf"/regen\n\n{PARIS}\n\n>>> ")
    chat.say("/save talk.json cache").wait(r"^talk\.json: 3 messages saved, \d+ tokens of its cache in talk\.json\.c")
    chat.say("/clear").wait("^2 messages cleared; the system prompt stays")
    chat.say("/load talk.json").wait(r"^talk\.json: 3 messages loaded\n"
                                     r"talk\.json\.cache: \d+ tokens of its cache loaded\n"
                                     rf"user: {re.escape(FRANCE)}\n\n{PARIS}")
    chat.say("/dump talk.txt").wait(r"^talk\.txt: \d+ characters written")
    chat.say("/forget").wait("^the oldest 2 messages forgotten")
    chat.say("/system Answer in one word.").wait("^system prompt set")
    chat.say("/system").wait("^Answer in one word\\.")
    chat.say("/nope").wait("^/nope: no such command; did you mean /pop\\?")
    chat.say("/help save").wait(r"^/save FILE\nSave the conversation .*\. The cache, FILE\.cache, ")
    chat.say("/?").wait(r"^/upload FILE +Give the model a text file to read\n\nCtrl-J or ")
    chat.say("/exit").ended()
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert [m["role"] for m in saved["messages"]] == ["system", "user", "assistant"]
    assert saved["messages"][2]["content"] == PARIS
    assert (tmp_path / "talk.txt").read_text().endswith(f"<|im_start|>assistant\n{PARIS}<|im_end|>\n")
    assert "Traceback" not in chat.all()


def test_what_is_typed_before_all_is_ready_is_kept(start):
    chat = start("--chat", *HELPFUL)
    chat.wait("^>>>")  # which stands there long before the editor
    chat.type(FRANCE).keys(ENTER)
    chat.wait(rf"^>>> {re.escape(FRANCE)}\n\n{PARIS}\n\n>>> ")


# Instead of showing the prompt: tell which heavy modules are there by then.
HEAVY = """
import os, sys
from llamafile.chat import banner

def show(options):
    heavy = {"asyncio", "jinja2", "prompt_toolkit", "pygments", "rich", "ssl", "llamafile.serving"}
    print("heavy:", *heavy & set(sys.modules), flush=True)
    os._exit(0)

banner.invite = show
from llamafile.__main__ import main
main(sys.argv[1:])
"""


def test_nothing_heavy_is_imported_before_the_prompt(smollm2, tmp_path):
    with Terminal(tmp_path, sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{HEAVY}", "-m",
                  smollm2, "--nobrowser", "--port", "18573") as terminal:
        terminal.ended()
        assert re.search(r"^heavy:$", terminal.screen(), re.MULTILINE), terminal.screen()


BROKEN = """
import sys
sys.modules["prompt_toolkit"] = None  # as in an executable that something was left out of
from llamafile.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_fault_at_the_beginning_ends_it(tinycoder):
    """With a server behind it, too: nothing waits for what will never be ready."""
    mine, other = pty.openpty()
    done = subprocess.run([sys.executable, "-c", BROKEN, "-m", tinycoder, "--nobrowser", "--port", "0"], stdin=other,
                          stdout=other, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm"},
                          timeout=300)
    os.close(mine), os.close(other)
    assert done.returncode == 1 and "ModuleNotFoundError" in done.stderr, done


def test_an_uploaded_file_is_read(start, tmp_path):
    (tmp_path / "notes of mine.txt").write_text("The secret word is plum.\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\1")
    chat = start("--chat", *HELPFUL)
    chat.prompt()
    chat.say("/upload image.png").wait("^image\\.png: is an image, and this model sees no images; ")
    chat.say("/upload binary").wait("^binary: is no text; ")
    chat.say("/upload nothing.txt").wait(r"^nothing\.txt: .*No such file or directory; ")
    chat.type("/upload no").keys(TAB).wait(r">>> /upload notes of mine\.txt\Z")
    chat.keys(ENTER).wait(r"^notes of mine\.txt: \d+ tokens; now ask about it")
    chat.say("What is the secret word?").wait(r"secret word\?\n\n(.*\n)*.*plum(.*\n)*\n>>> ")
    chat.keys(CTRL_D).ended()


def test_ctrl_c_stops_the_answer_then_leaves(start, tmp_path):
    chat = start("--chat", *HELPFUL, "--ignore-eos")
    chat.prompt()
    chat.say("Tell me a long story.").wait(r"story\.\n\n\w+ \w+ \w+")
    chat.keys(CTRL_C).wait(r"^stopped\n>>> Say something")
    chat.say("/save stopped.json").wait("^stopped\\.json: 3 messages saved")
    answer = json.loads((tmp_path / "stopped.json").read_text())["messages"][2]["content"]
    assert answer and answer.split()[0] in chat.screen()
    chat.type("half a thought").wait("half a thought")
    chat.keys(CTRL_C).wait(r"^>>> Say something.*\Z")  # it empties the line
    chat.keys(CTRL_C).wait("^Ctrl-C once more, or Ctrl-D, leaves\n>>> ")
    chat.type("x").wait(r"^>>> x\Z")  # who types stays
    chat.keys(CTRL_C, CTRL_C).wait("^Ctrl-C once more")
    chat.keys(CTRL_C).ended()


def test_several_lines(start):
    chat = start("--chat", *HELPFUL, "-n", "4")
    chat.prompt()
    chat.type('"""one').keys(ENTER).type("two").keys(ENTER).type('three"""').keys(ENTER)
    chat.wait(r'^>>> """one\n\.\.\. two\n\.\.\. three"""\n\n.+\n\n>>> ')
    chat.type("four").keys(CTRL_J).type("five").keys(ENTER).wait(r"^>>> four\n\.\.\. five\n\n.+\n\n>>> ")
    chat.paste("six\nseven\n").wait(r"^>>> six\n\.\.\. seven\n\.\.\.\Z")
    chat.keys(CTRL_C)
    chat.say("/dump").wait(r"user\none\ntwo\nthree<.im_end.>\n(.*\n)*<.im_start.>user\nfour\nfive<")
    chat.keys(CTRL_D).ended()


def test_a_paste_of_ten_thousand_lines(start):
    chat = start("--chat", *HELPFUL)
    chat.prompt()
    began = time.monotonic()
    chat.paste("".join(f"line {number}\n" for number in range(10_000))).wait(r"^>>> \[pasted 10,001 lines\]\Z")
    assert time.monotonic() - began < 5
    chat.type(" what is that?").wait(r"\] what is that\?\Z")
    chat.keys(ENTER).wait(r"^context: this needs 6\d,\d+ tokens, the context holds 8,192; shorten it")
    chat.keys(UP).wait(r"^>>> \[pasted 10,001 lines\] what is that\?\Z")  # and it is not lost
    chat.keys(CTRL_C, CTRL_D).ended()


def test_history_goes_on_in_the_next_chat(start, tmp_path):
    chat = start("--chat", *HELPFUL, "-n", "4")
    chat.prompt()
    chat.say(FRANCE).wait("\n\n>>> Say")
    chat.say("/stats").wait("^context")
    chat.keys(CTRL_D).ended()
    assert (tmp_path / ".llamafile_history").read_text() == f"{FRANCE}\n/stats\n"
    assert stat.S_IMODE((tmp_path / ".llamafile_history").stat().st_mode) == 0o600
    chat = start("--chat", *HELPFUL)
    chat.prompt()
    chat.keys(UP, UP).wait(rf"^>>> {re.escape(FRANCE)}\Z")
    chat.keys(CTRL_C).prompt()
    chat.type("What is").wait(rf"^>>> {re.escape(FRANCE)}\Z")  # the rest as a hint
    assert "\x1b[90m the capital" in chat.screen("-e")


def test_resizing_while_an_answer_is_written(start):
    chat = start("--chat", *HELPFUL, "--ignore-eos", "-n", "200")
    chat.prompt()
    chat.say("Tell me a long story about the sea.")
    for columns in (50, 110, 40, 90):
        chat.wait(r"sea\.\n\n(.*\n)*.*\w{3}", what=chat.all)
        time.sleep(0.4)
        chat.resize(columns, 30)
    chat.prompt()
    words = re.sub(r"\s+", " ", chat.all("-J").split("about the sea.")[1].split(">>>")[0]).strip()
    chat.say("/dump").wait(r"<.im_end.>\n>>> Say", what=chat.all)
    dumped = re.sub(r"\s+", " ", chat.all("-J").split("<|im_start|>assistant")[-1].split(">>>")[0]).strip()
    dumped = dumped.removesuffix("<|im_end|>").strip()
    # What a terminal folds into its past is out of reach: it may stand there once more, but no word is missing.
    assert words.startswith(dumped[:100])
    assert words.endswith(dumped[-100:])
    assert set(dumped.split()) <= set(words.split())
    assert len(words) < 3 * len(dumped)


def test_manual_mode(start):
    chat = start("--chat", *HELPFUL)
    chat.prompt()
    chat.say("/manual on").wait("^user>>> ")
    chat.say(FRANCE).keys(ENTER).wait("^assistant>>> ")
    chat.say("Paris, of course.").keys(ENTER).wait("^system>>> ")
    chat.say("/manual off").wait("^the model answers by itself again")
    chat.say("/dump").wait("<.im_start.>assistant\nParis, of course\\.<")
    chat.say("/regen").wait(rf"/regen\n\n{PARIS}")


def test_a_context_that_fills_up(start):
    chat = start("--chat", *HELPFUL, "-c", "256", "-n", "16", "--ignore-eos", columns=120)
    chat.prompt()
    for number in range(5):
        chat.say(f"This is message {number}, and it has a good many words so that the context fills up soon enough.")
        chat.wait(rf"^>>> This is message {number}, .*\n(.*\n)+>>> Say something")
    assert re.search(r"^the context was full: the oldest \d+ messages are forgotten$", chat.all(), re.MULTILINE)
    chat.say("/context").wait(r"^\d+ of 256 tokens \(\d+ %\) in use(.*\n)+ +12  system +You are a helpful")


def test_without_colours_and_without_a_terminal_that_can(start):
    plain = start("--chat", *HELPFUL, env={"NO_COLOR": "1"})
    plain.prompt()
    plain.say(FRANCE).wait(PARIS)
    plain.say("/nope").wait("did you mean")
    assert not re.search(r"\x1b\[[\d;]*(3[0-7]|9[0-7]|4[0-7])[;m]", plain.screen("-e"))
    dumb = start("--chat", *HELPFUL, term="dumb")
    dumb.wait(r"^>>>")
    dumb.say(FRANCE).wait(rf"^{PARIS}")
    dumb.keys(CTRL_D).ended()


def test_simple_io_moves_no_cursor(start, tmp_path):
    chat = start("--chat", "--simple-io", *HELPFUL)
    chat._tmux("pipe-pane", f"cat > {tmp_path}/bytes")
    chat.wait(r"^>>>")
    chat.say(FRANCE).wait(rf"^{PARIS}\n>>>")
    chat.keys(CTRL_D).ended()
    assert b"\x1b" not in (tmp_path / "bytes").read_bytes()


def test_wide_and_right_to_left_text(start):
    chat = start("--chat", *HELPFUL, "-n", "3", columns=60)
    chat.prompt()
    chat.say("日本語 👩‍👩‍👧 שלום").wait("^>>> 日本語 .*שלום\n\n")
    chat.prompt()
    chat.say("/dump").wait("user\n日本語 .*שלום<")


def test_a_model_without_a_template_goes_on(start, tinycoder):
    chat = start("--chat", "-n", "5", "--temp", "0", model=tinycoder)
    chat.prompt()
    chat.say("def main():").wait(r"main\(\):\n\n(.*\n)*>>> Say")
    chat.say("/dump").wait(r"/dump\ndef main\(\):")


def test_chat_and_server_together(start, tmp_path):
    chat = start(*HELPFUL, "--nobrowser", "--port", "18473", env={"DISPLAY": ":0"})
    address = re.search(r"; (http://127\.0\.0\.1:\d+)$", chat.prompt(), re.MULTILINE)[1]
    chat.say(FRANCE).wait(PARIS)
    assert _ask(address, FRANCE) == PARIS
    chat.keys(CTRL_D).ended()


def _ask(address, question):
    from urllib.request import Request, urlopen

    messages = [{"role": "system", "content": HELPFUL[1]}, {"role": "user", "content": question}]
    body = {"temperature": 0, "messages": messages}
    request = Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=300) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def test_the_browser_is_opened_once_and_may_hang(start, tmp_path):
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/opened; exec sleep 30\n")
    program.chmod(0o755)
    chat = start(*HELPFUL, "--port", "18573",
                 env={"DISPLAY": ":0", "PATH": f"{program.parent}:{os.environ['PATH']}"})
    chat.prompt()
    chat.say(FRANCE).wait(PARIS)
    log = tmp_path / "opened"
    chat.wait(r"\n\Z", what=lambda: log.read_text() if log.exists() else "")  # the browser is not waited for
    chat.keys(CTRL_D).ended()
    assert re.fullmatch(r"http://127\.0\.0\.1:185\d\d/?\n", log.read_text())


def test_a_home_that_cannot_be_written(start, tmp_path):
    chat = start("--chat", *HELPFUL, env={"HOME": "/proc/nowhere"})
    assert f"history: is kept in {tmp_path}/llamafile-" in chat.prompt().replace("\n", "")
    chat.say(FRANCE).wait(PARIS)
    chat.keys(CTRL_D).ended()


def test_no_model_and_a_broken_one(start, tmp_path):
    start("--chat", model=None).wait(r"^llamafile: -m: there is no model in this executable; ")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    broken = start("--chat", model=tmp_path / "broken.gguf")
    broken.ended(1)
    assert broken.screen().startswith("llamafile: ") and "Traceback" not in broken.screen()


def test_a_model_that_breaks_while_somebody_types(start, smollm2, tmp_path):
    """Its keys are sound, so there is a prompt; its tensors are not."""
    with open(smollm2, "rb") as file:
        data = file.read(4 << 20)
    data = data.replace(b"blk.3.attn_q.weight", b"blk.3.attn_X.weight")
    with open(tmp_path / "half.gguf", "wb") as file:
        file.write(data)
        file.truncate(99 << 20)
    chat = start("--chat", model=tmp_path / "half.gguf")
    chat.ended(1)
    assert re.search(r"^llamafile: .*tensor blk\.3\.attn_q\.weight is missing", chat.screen("-J"), re.MULTILINE)
    assert "Traceback" not in chat.screen()


EVIL = r'root ::= "a\x1B[31mb\x1B]2;pwned\x07 c\u202Ed `x\x1B[2J`"'


@pytest.mark.parametrize("words", [["--chat"], ["-p", "hi", "--no-display-prompt"]])
def test_what_a_model_writes_does_not_control_the_terminal(start, words):
    chat = start(*words, "--grammar", EVIL, "-n", "60")
    if words == ["--chat"]:
        chat.prompt()
        chat.say("hi")
    chat.wait(r"^a␛\[31mb␛\]2;pwned␇ c<U\+202E>d .*x␛\[2J")
    assert "pwned" not in chat._tmux("display-message", "-p", "#{pane_title}")
    assert "\x1b[31m" not in chat.screen("-e")

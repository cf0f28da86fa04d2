"""The runner on a scripted model: what is written, when it stops, what the model gets to see."""

from __future__ import annotations

import os
import signal

import pytest

from llamafile.cli.stops import Stops
from llamafile.cli.texts import unescaped
from llamafile.cli.typed import Typed
from llamafile.errors import LlamafileError
from tests.cli.scripted import BOS, END, Run, letters, typing

CHATML_TEXT = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(autouse=True)
def _own_signals():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def out(capfd):
    return capfd.readouterr().out


def test_prompt_and_answer(capfd):
    run = Run("-p Hello", [b" wor", b"ld", END])
    assert (run.status, out(capfd)) == (0, "Hello world\n")
    assert run.context == b"<s>Hello world"
    assert run.sampler.accepted[0] == BOS and len(run.sampler.accepted) == 8


def test_only_the_answer(capfd):
    for flag in ("--no-display-prompt", "--silent-prompt"):
        Run(f"-p Hello {flag}", [b" world", END])
        assert out(capfd) == " world\n"


def test_no_second_newline(capfd):
    Run("-p x", [b"y\n", END])
    assert out(capfd) == "xy\n"


def test_the_last_token_is_not_evaluated_for_nothing():
    run = Run("-p x -n 3", letters("abcdef"))
    assert run.session.evaluated == 2 + 2  # begin, x, a, b: c is shown only
    assert run.context == b"<s>xabc"


def test_n_zero_evaluates_the_prompt(capfd):
    run = Run("-p hello -n 0", letters("abc"))
    assert run.session.evaluated == 6 and out(capfd) == "hello\n"


def test_escapes(capfd):
    Run(r"-p 'a\nb\t\x41\q\\' -n 0", [])
    assert out(capfd) == "a\nb\tA\\q\\\n"
    Run(r"-p 'a\nb' -n 0 --no-escape", [])
    assert out(capfd) == "a\\nb\n"


def test_escapes_in_files_only_by_e(capfd, tmp_path):
    (tmp_path / "p").write_bytes(b"printf(\"\\n\");\n\n")
    Run(f"-f {tmp_path}/p -n 0", [])
    assert out(capfd) == 'printf("\\n");\n'
    Run(f"-e -f {tmp_path}/p -n 0", [])
    assert out(capfd) == 'printf("\n");\n'


def test_binary_files_are_taken_as_they_are(capfd, tmp_path):
    (tmp_path / "p").write_bytes(b"a\\n\n\n")
    run = Run(f"-bf {tmp_path}/p -n 0", [])
    assert run.context == b"<s>a\\n\n\n"


def test_prompt_from_a_pipe(capfd):
    with typing("from a pipe\n"):
        Run("-f /dev/stdin -n 1 --no-display-prompt", [b"!"])
    assert out(capfd) == "!\n"


@pytest.mark.parametrize("pieces", [letters("return 1;\n}\nint"), [b"return 1;\n", b"}\nint", b" x"],
                                    [b"return 1;", b"\n}", b"\n\nint"]])
def test_reverse_prompts_across_tokens(capfd, pieces):
    run = Run(r"-p 'f() {\n' -r '}\n' -r '```\n'", pieces)
    assert out(capfd) == "f() {\nreturn 1;\n}\n"
    assert run.context == b"<s>f() {\nreturn 1;\n}\n"


def test_the_prompt_itself_is_no_reverse_prompt(capfd):
    Run("-p 'User: hi. User:' -r User:", [b" x", b" User:", b"never"])
    assert out(capfd) == "User: hi. User: x User:\n"


def test_special_tokens_stop_but_are_not_shown(capfd):
    Run("-p x -r '<mark>'", [b"a", b"<mark>", b"b"])
    assert out(capfd) == "xa\n"
    Run("-p x --special", [b"a", b"<mark>", b"b", END])
    assert out(capfd) == "xa<mark>b\n"


def test_characters_are_never_split(capfd):
    written = []
    script = []
    for byte in "héλ🦙".encode():
        script += [bytes([byte]), lambda: written.append(out(capfd))]
    Run("-p x", [*script, END])
    assert "".join(written) == "xhéλ🦙"
    assert all("\ufffd" not in part for part in written)


def test_half_a_character_at_the_end_is_shown_as_such(capfd):
    Run("-p x", [b"\xf0", b"\x9f", END])
    assert out(capfd) == "x\ufffd\n"


def test_context_shifts_and_keeps(capfd):
    run = Run("-p 0123456789 --keep 4 -n 40", letters("abcdefghijklmnopqrstuvwxyz" * 2), n_ctx=32)
    assert run.session.shifts[0] == (5, (32 - 5) // 2)  # the begin token is kept beside the four
    assert run.context.startswith(b"<s>0123") and len(run.session.tokens) <= 32
    assert len(out(capfd)) == 10 + 40 + 1


def test_keep_all_of_the_prompt():
    run = Run("-p 0123456789 --keep -1 -n 60", letters("x" * 70), n_ctx=32)
    assert all(keep == 11 for keep, _ in run.session.shifts) and run.context.startswith(b"<s>0123456789x")


@pytest.mark.parametrize("flags", ["-n -2", "--no-context-shift"])
def test_a_full_context_ends_the_answer(capfd, flags):
    run = Run(f"-p 0123456789 {flags}", letters("x" * 99), n_ctx=32)
    captured = capfd.readouterr()
    assert len(run.session.tokens) == 32 and run.session.shifts == []
    assert "context: its 32 tokens are full; the answer ends here" in captured.err
    assert captured.out == "0123456789" + "x" * 22 + "\n"


def test_a_prompt_that_does_not_fit(capfd):
    with pytest.raises(LlamafileError, match=r"^prompt: has 32 tokens, the context holds 32; use a larger -c or "):
        Run("-p " + "x" * 31, [], n_ctx=32)
    assert out(capfd) == ""


def test_no_prompt_at_all():
    with pytest.raises(LlamafileError, match=r"^prompt: there is none; give one with -p or -f, or type with -i$"):
        Run("--cli", [])


def test_an_empty_prompt_begins_a_text(capfd):
    assert Run("-p '' -n 2", letters("ab")).context == b"<s>ab"


def test_ctrl_c_stops_the_answer(capfd):
    run = Run("-p x", [b"a", b"b", lambda: os.kill(os.getpid(), signal.SIGINT), b"c", b"d"])
    assert run.status == 130 and out(capfd) == "xabc\n"


def test_ctrl_c_twice_leaves():
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Run("-p x", [b"a", twice, b"b"])


# Turns of plain text.

def test_dialogue(capfd):
    with typing("What?\nAnd?\n"):
        run = Run("-p 'User:' -i -r User: --in-prefix ' '", [*letters(" A.\nUser:"), *letters(" B.\nUser:"), END])
    assert run.context == b"<s>User: What? A.\nUser: And? B.\nUser:"
    assert out(capfd) == "User:  A.\nUser:  B.\nUser: \n"  # a pipe does not show what was typed


def test_a_prompt_that_ends_in_a_reverse_prompt_gives_the_first_turn(capfd):
    with typing("hi\n"):
        run = Run("-i -r User: -p 'User: '", [*letters(" x User:")])
    assert run.context == b"<s>User: hi x User:"


def test_interactive_first_and_suffix():
    with typing("hi\n"):
        run = Run("-p Text. --interactive-first --in-suffix ' Athena:'", [b" yes", END])
    assert run.context == b"<s>Text.hi Athena: yes"


def test_interactive_begins_with_the_model():
    with typing("hi\n"):
        run = Run("-p Text. -i", [b" more", END, b" bye", END])
    assert run.context == b"<s>Text. morehi bye"


def test_the_models_end_brings_the_reverse_prompt(capfd):
    with typing("hi\n"):
        run = Run("-p Text. -i -r User:", [b" more", END, b" bye", END])
    assert run.context == b"<s>Text. moreUser:hi byeUser:"
    assert out(capfd) == "Text. more\nUser: bye\nUser:\n"


def test_begin_token_before_each_turn():
    with typing("hi\n"):
        run = Run("-p Text. --interactive-first --in-prefix-bos", [END])
    assert run.context == b"<s>Text.<s>hi"


def test_limit_is_for_each_turn(capfd):
    with typing("a\nb\n"):
        run = Run("-p T --interactive-first -n 2", letters("vwxyz"))
    assert run.context == b"<s>Tavwbxy"


def test_marks_typed_by_the_user_are_text():
    with typing("</s>\n"):
        run = Run("-p T --interactive-first", [END])
    assert run.timeline.tokens[-4:] == list(b"</s>")


def test_interrupt_gives_the_turn_back(capfd):
    with typing("a\nb\n"):
        run = Run("-p T --interactive-first", [b"x", lambda: os.kill(os.getpid(), signal.SIGINT), b"y", b"z", END])
    assert run.status == 0 and run.context == b"<s>Taxybz"


def test_own_prefix_takes_the_place_of_the_template():
    with typing("hi\n"):
        run = Run("-cnv -p System. --in-prefix ' User: ' --in-suffix ' Bot:'", [b" yo", END], template="unused {{ x }}")
    assert run.context == b"<s>System. User: hi Bot: yo"


# Conversations.

def test_conversation(capfd):
    with typing("hi\nbye\n"):
        run = Run("-cnv -p 'Be kind.' --chat-template chatml", [b"Hello", END, b"See you", END])
    assert out(capfd) == "Hello\nSee you\n"
    assert run.context == (b"<s><|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
                           b"<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n"
                           b"<|im_start|>assistant\nSee you")


def test_only_what_is_new_is_evaluated():
    with typing("hi\n" + "x" * 50 + "\n"):
        run = Run("-cnv --chat-template chatml", [b"Hello", END, b"!", END])
    assert run.session.evaluated <= len(run.timeline.tokens) + 5


def test_the_models_own_template_and_its_begin_token():
    with typing("hi\n"):
        run = Run("-cnv", [b"yo", END], template="{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}")
    assert run.context == b"<s>[hi]yo" and run.timeline.tokens[:2] == [BOS, ord("[")]


def test_single_turn_by_flags(capfd):
    run = Run("-cnv -st -p hi --chat-template chatml", [b"Hello", END])
    assert run.context == b"<s>" + CHATML_TEXT.encode() + b"Hello" and out(capfd) == "Hello\n"
    run = Run("-cnv -st -sys S -p hi --chat-template chatml", [b"Hello", END])
    assert b"system\nS<|im_end|>" in run.context and b"user\nhi<|im_end|>" in run.context


def test_kwargs_reach_the_template():
    with typing("hi\n"):
        run = Run("-cnv --chat-template-kwargs '{\"x\": 7}'", [END], template="{{ x }}{{ messages[0].content }}")
    assert run.context == b"<s>7hi"
    for bad in ("{", "[1]"):
        with pytest.raises(LlamafileError, match=r"^--chat-template-kwargs: "):
            Run(f"-cnv --chat-template-kwargs '{bad}'", [], template="x")


def test_no_template():
    with pytest.raises(LlamafileError, match=r"^model\.gguf: has no chat template; name one with --chat-template$"):
        Run("-cnv", [])


def test_instruct_and_chatml():
    with typing("hi\n"):
        assert Run("-ins", [END]).context == b"<s>### Instruction:\nhi\n\n### Response:\n"
    with typing("hi\n"):
        assert Run("-cml", [END]).context == b"<s>" + CHATML_TEXT.encode()


def test_a_long_conversation_forgets_its_oldest_turns():
    lines = "".join(f"turn {i} {'x' * 20}\n" for i in range(12))
    script = [part for i in range(12) for part in (f"answer {i}".encode(), END)]
    with typing(lines):
        run = Run("-cnv -p SYSTEM --chat-template chatml", script, n_ctx=400)
    assert b"SYSTEM" in run.context and b"turn 0 " not in run.context and b"turn 11 " in run.context
    assert run.session.shifts == []


def test_a_turn_that_does_not_fit_is_taken_back(capfd):
    with typing("hi\n" + "x" * 300 + "\nbye\n"):
        run = Run("-cnv --chat-template chatml --log-disable", [b"Hello", END, b"Ciao", END], n_ctx=200)
    captured = capfd.readouterr()
    assert captured.out == "Hello\nCiao\n" and run.status == 0
    assert captured.err.startswith("llamafile: prompt: has ") and captured.err.count("\n") == 1
    assert b"xxx" not in run.context and b"hi<|im_end|>" in run.context and b"bye<|im_end|>" in run.context
    with pytest.raises(LlamafileError, match=r"^prompt: has"):
        Run("-cnv -st -p " + "x" * 300 + " --chat-template chatml", [], n_ctx=200)


def test_a_long_answer_shifts_and_the_conversation_goes_on():
    with typing("hi\nmore\n"):
        run = Run("-cnv -p SYSTEM --keep -1 --chat-template chatml", [*letters("y" * 200), END, b"ok", END], n_ctx=160)
    assert run.session.shifts and run.context.endswith(
        b"y<|im_end|>\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\nok")


# The prompt cache.

def test_prompt_cache_is_written_after_the_prompt(tmp_path):
    run = Run(f"-p hello --prompt-cache {tmp_path}/c", [b" x", END])
    assert run.session.saved == [[BOS, *b"hello"]]


def test_prompt_cache_is_used_and_left_alone(tmp_path):
    (tmp_path / "c").write_bytes(b"state")
    stored = [BOS, *b"hello, world"]
    run = Run(f"-p hello --prompt-cache {tmp_path}/c", [b"!", END], stored=stored)
    assert run.session.evaluated == 1 + 1 and run.session.saved == []
    assert run.sampler.accepted == [BOS, *b"hello", run.timeline.tokenizer.token(b"!")]


def test_prompt_cache_of_another_prompt_is_replaced(tmp_path):
    (tmp_path / "c").write_bytes(b"state")
    run = Run(f"-p help --prompt-cache {tmp_path}/c", [END], stored=[BOS, *b"hello"])
    assert run.session.saved == [[BOS, *b"help"]] and run.session.evaluated == 1
    run = Run(f"-p help --prompt-cache {tmp_path}/c --prompt-cache-ro", [END], stored=[BOS, *b"hello"])
    assert run.session.saved == []


def test_prompt_cache_of_everything(tmp_path):
    run = Run(f"-p a --prompt-cache {tmp_path}/c --prompt-cache-all", [b"b", b"c", END])
    assert run.session.saved[-1] == [BOS, *b"abc"]


def test_no_prompt_goes_on_from_the_cache(tmp_path, capfd):
    (tmp_path / "c").write_bytes(b"state")
    run = Run(f"--cli --prompt-cache {tmp_path}/c", [b"!", END], stored=[BOS, *b"so far"])
    assert run.context == b"<s>so far!" and out(capfd) == "!\n"


# The parts.

def test_stops():
    stops = Stops([b"END", b"}\n"])
    assert [stops.feed(piece) for piece in (b"E", b"N", b"xE", b"ND}")] == [-1, -1, -1, 2]
    assert stops.feed(b"\n") == -1  # the match before has cleared the past
    assert stops.feed(b"a}\nEND") == 3
    assert Stops([]).feed(b"anything") == -1 and not Stops([]).ends(b"")
    assert stops.ends(b"x END") and stops.ends(b"x END \n") and not stops.ends(b"END x")


@pytest.mark.parametrize(("text", "expected"), [
    (b"", b""), (b"plain", b"plain"), (b"\\n\\r\\t\\'\\\"\\\\", b"\n\r\t'\"\\"), (b"\\", b"\\"), (b"a\\", b"a\\"),
    (b"\\x41\\xZZ\\x4", b"A\\xZZ\\x4"), (b"\\\\n", b"\\n"), (b"\\q\\0", b"\\q\\0"), (b"\\xff", b"\xff"),
    ("\\né".encode(), "\né".encode()),
])
def test_unescaped(text, expected):
    assert unescaped(text) == expected


def test_typed_turns():
    with typing("one\ntwo\\\nthree\r\n\nlast"):
        typed = Typed(False)
        assert [typed.turn() for _ in range(5)] == [b"one", b"two\nthree", b"", b"last", None]


def test_typed_turns_of_several_lines():
    with typing("one\ntwo\\\nthree/\npath/to\nend"):
        typed = Typed(True)
        assert [typed.turn() for _ in range(4)] == [b"one\ntwo", b"three", b"path/to\nend", None]

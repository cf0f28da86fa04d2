"""The reader of command lines: spellings, values, order, the environment, and a line for everything that is wrong."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafile import arguments
from llamafile.arguments import read
from llamafile.errors import LlamafileError
from llamafile.flags import SPELLINGS, TABLE
from llamafile.flags.row import CHOICE, LATER, LIST, PATH, SWITCH, TEXT


def parsed(line, **environment):
    return read(shlex.split(line), environment=environment)


def refused(line, **environment):
    with pytest.raises(LlamafileError) as caught:
        parsed(line, **environment)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults():
    options = parsed("")
    assert (options.n_ctx, options.n_predict, options.temperature, options.top_k) == (8192, -1, 0.8, 40)
    assert options.given == set() and options.notices == []


def test_documented_example():
    options = parsed("-ngl 9999 --temp 0 -e -r '```\\n' -p '```c\\nint f() {\\n' --batch_size 1024 --ctx_size 4096")
    assert options.temperature == 0 and options.escape is True
    assert options.reverse_prompt == ("```\\n",)
    assert options.prompt == "```c\\nint f() {\\n"
    assert (options.n_batch, options.n_ctx, options.n_gpu_layers) == (1024, 4096, 9999)
    assert options.notices == []


def test_interactive_example_of_the_manual():
    options = parsed("-m m.gguf -p 'Researcher:' --interactive --color --batch_size 1024 --ctx_size 4096 --keep -1 "
                     "--temp 0 --mirostat 2 --in-prefix ' ' --interactive-first --in-suffix 'Digital Athena:' "
                     "--reverse-prompt 'Researcher:'")
    assert (options.interactive, options.interactive_first, options.color, options.n_keep) == (True, True, "on", -1)
    assert (options.in_prefix, options.in_suffix, options.reverse_prompt) == (" ", "Digital Athena:", ("Researcher:",))


def test_later_flags_win_and_lists_grow():
    options = parsed("-n 1 -n 2 --predict 3 -r a -r b --no-mmap --mmap")
    assert options.n_predict == 3
    assert options.reverse_prompt == ("a", "b")
    assert options.mmap is True


def test_the_later_of_two_rivals_counts():
    assert (parsed("-p a -f b").prompt, parsed("-p a -f b").prompt_file) == (None, "b")
    assert (parsed("-f b -p a").prompt, parsed("-f b -p a").prompt_file) == ("a", None)
    assert "prompt" not in parsed("-p a -f b").given


def test_underscores_only_in_names_of_long_flags():
    assert parsed("--in_prefix a_b").in_prefix == "a_b"
    assert parsed("--in_prefix=a_b").in_prefix == "a_b"
    assert "no such flag" in refused("-n_gl 1")


def test_equals_sign():
    options = parsed("--temp=0.5 -n=7 --prompt=a=b --color=off --mmap=off --no-mmap=off")
    assert (options.temperature, options.n_predict, options.prompt, options.color) == (0.5, 7, "a=b", "off")
    assert options.mmap is True  # --no-mmap=off


def test_values_may_look_like_flags():
    options = parsed("-p --temp -n -2 --keep -1")
    assert (options.prompt, options.n_predict, options.n_keep) == ("--temp", -2, -1)


def test_optional_values():
    assert parsed("--color -n 1").color == "on"
    assert parsed("--color auto -n 1").color == "auto"
    assert parsed("--numa -n 1").numa == "distribute"
    assert parsed("--numa isolate").numa == "isolate"
    assert parsed("-fa").notices == [] and "always fused" in parsed("-fa off").notices[0]
    assert parsed("--color").color == "on"


def test_words_for_numbers():
    assert parsed("-ngl all").n_gpu_layers == 9999
    assert parsed("-ngl auto").notices == []
    assert parsed("-ngl 0").notices == [] and parsed("--gpu disable").notices == []


def test_a_gpu_without_a_module_is_refused():
    assert refused("--gpu vulkan") == "--gpu vulkan: not in this version yet; remove it and the CPU runs the model"
    assert parsed("--gpu AUTO").gpu == "auto" and parsed("--gpu nvidia").gpu == "nvidia"
    assert parsed("--gpu emulated").gpu == "emulated" and "emulated" not in refused("--gpu x").split("'x'")[1]


def test_one_notice_a_reason():
    options = parsed("-ot a=CPU --override-tensor b=CPU -ot c=CPU --tfs 0.5")
    assert options.notices[0] == "-ot, --override-tensor: have no effect; layers are offloaded whole"
    assert len(options.notices) == 2


def test_server_settings_are_read_in_silence():
    assert parsed("--host 0.0.0.0 --port 8080 --nobrowser -np 4 --api-key x").notices == []


@pytest.mark.parametrize(("line", "message"), [
    ("-c", "-c: needs a value; write -c N"),
    ("-c x", "-c: 'x' is not a whole number"),
    ("-c 1.5", "-c: '1.5' is not a whole number"),
    ("-c -1", "-c: -1 is not between 0 and 2147483647"),
    ("-c 99999999999999999999", "-c: 99999999999999999999 is not between 0 and 2147483647"),
    ("-ngl x", "-ngl: 'x' is not a whole number or auto or all"),
    ("--temp nan", "--temp: nan is not between -2147483648 and 2147483647"),
    ("--temp warm", "--temp: 'warm' is not a number"),
    ("-ctk q9", "-ctk: 'q9' is not one of f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1"),
    ("--tmep 1", "--tmep: no such flag; did you mean --temp?"),
    ("--xyzzyplugh", "--xyzzyplugh: no such flag; --help lists them"),
    ("model.gguf", "'model.gguf': is no flag; a model is given by -m, a prompt by -p"),
    ("-", "'-': is no flag; a model is given by -m, a prompt by -p"),
    ("''", "'': is no flag; a model is given by -m, a prompt by -p"),
    ("--numa everywhere", "--numa: 'everywhere' is not one of distribute, isolate, numactl"),
    ("--mlock=maybe", "--mlock: takes no value, or on or off; 'maybe' is neither"),
])
def test_mistakes(line, message):
    assert refused(line) == message


def test_mistakes_in_the_args_file_are_said_to_lie_there():
    with pytest.raises(LlamafileError, match=r"^--mmproj \(from \.args\): not in this version yet; remove it with"):
        read(["--mmproj", "x"], {0, 1}, environment={})
    with pytest.raises(LlamafileError, match=r"^--frob \(from \.args\): no such flag"):
        read(["--frob"], {0}, environment={})


def test_nul_is_refused():
    with pytest.raises(LlamafileError, match="NUL"):
        read(["-m", "a\0b"], environment={})


def test_environment():
    assert parsed("", LLAMA_ARG_CTX_SIZE="512").n_ctx == 512
    assert parsed("-c 64", LLAMA_ARG_CTX_SIZE="512").n_ctx == 64
    assert parsed("", LLAMA_ARG_MMAP="off").mmap is False
    assert parsed("", LLAMA_ARG_NO_MMAP="").mmap is False
    assert parsed("", LLAMA_ARG_MLOCK="true").mlock is True
    assert parsed("", LLAMA_ARG_UNHEARD_OF="1", LLAMA_ARG_NO_SENSE="1").given == set()
    assert refused("", LLAMA_ARG_CTX_SIZE="x") == "LLAMA_ARG_CTX_SIZE: 'x' is not a whole number"
    assert refused("", LLAMA_ARG_MMAP="7") == "LLAMA_ARG_MMAP=7: is neither on nor off; set it to 1 or 0"
    assert refused("", LLAMA_ARG_MMPROJ="x") == "LLAMA_ARG_MMPROJ: not in this version yet; unset it"


def test_older_wishes_in_newer_words():
    assert (parsed("-lm mlock").mlock, parsed("-lm mlock").mmap) == (True, True)
    assert parsed("-lm none").mmap is False
    assert parsed("--rope-scale 4").rope_freq_scale == 0.25
    assert parsed("--rope-scale 4 --rope-freq-scale 0.5").rope_freq_scale == 0.5


def test_every_flag_can_be_given():
    for spelling, (flag, on) in SPELLINGS.items():
        if flag.status == LATER:
            if on:
                assert refused(spelling + " x").startswith(f"{spelling}: not in this version yet")
            continue
        value = {SWITCH: "", CHOICE: "", LIST: "x", TEXT: "x", PATH: "x"}.get(flag.kind, "1")
        if flag.kind == CHOICE:
            value = next(choice for choice in flag.choices if choice not in flag.refused)
        if flag.kind == "maybe":
            value = flag.choices[-1]
        options = parsed(f"{spelling} {value}")
        assert flag.dest in options.given
        assert getattr(options, flag.dest) == {
            SWITCH: on, LIST: (value,), "int": 1, "float": 1.0}.get(flag.kind, value), spelling


def test_nearest_flag_is_found_for_a_slip_in_any_long_flag():
    missed = []
    for flag in TABLE:
        for name in flag.names:
            if len(name) > 8:
                line = arguments.unknown(name[:4] + name[5:])
                found = line.partition("did you mean ")[2].rstrip("?")
                if found not in flag.names + flag.off:
                    missed.append((name, found))
    assert len(missed) < 10, missed  # a slip may turn one flag into nearly another


@given(st.lists(st.one_of(st.sampled_from(sorted(SPELLINGS)), st.text(max_size=8))))
def test_any_words_are_read_or_refused_in_one_line(words):
    try:
        read(words, environment={})
    except LlamafileError as wrong:
        assert str(wrong)

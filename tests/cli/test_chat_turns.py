"""Conversations that are written without jinja are what jinja makes of them, for every template that is known."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llamafile import chat_turns
from llamafile.chat_formats import NAMES, text_of_name
from llamafile.gguf.reader import open_path
from tests import weights

JINJA = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
contents = st.text(max_size=20) | st.sampled_from([" a \n", "{{x}}", "\0bos_token\0", "\u2028x\u00a0", "<|eot_id|>\n"])
talks = st.lists(st.fixed_dictionaries({"role": st.sampled_from(chat_turns.ROLES), "content": contents}), min_size=1,
                 max_size=6)


def same(template, messages, bos, eos, answer):
    ours = chat_turns.render(template, messages, bos, eos, answer, {"enable_thinking": False})
    assert ours == JINJA.from_string(template).render(messages=messages, bos_token=bos, eos_token=eos, tools=None,
                                                      documents=None, add_generation_prompt=answer)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(NAMES), talks, st.sampled_from(["", "<s>"]), st.sampled_from(["", "</s>"]), st.booleans())
def test_named_formats(name, messages, bos, eos, answer):
    same(text_of_name(name), messages, bos, eos, answer)


@pytest.mark.models
@pytest.mark.parametrize("name", ["smollm2", "qwen0.5b"])
def test_templates_of_models(name):
    try:
        template = open_path(str(weights.fetch(name))).text("tokenizer.chat_template")
    except weights.Unavailable as problem:
        pytest.skip(str(problem))
    assert chat_turns.known(template)

    @settings(max_examples=300, deadline=None)
    @given(talks, st.booleans())
    def compare(messages, answer):
        same(template, messages, "<s>", "</s>", answer)

    compare()


TEMPLATE = text_of_name("chatml")
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


@pytest.mark.parametrize(("messages", "extra"), [
    ([], {}), ([{"role": "tool", "content": "x"}], {}), ([{"role": "user"}], {}), ([CALL], {}),
    ([{"role": "user", "content": ["x"]}], {}), ([{"role": "user", "content": "x"}], {"bos_token": "y"}),
    ([{"role": "user", "content": "x" * chat_turns.TEXT_LIMIT}], {}),
])  # fmt: skip
def test_the_rest_is_left_to_jinja(messages, extra):
    assert chat_turns.render(TEMPLATE, messages, "", "", True, extra) is None
    assert chat_turns.render(TEMPLATE + " ", [{"role": "user", "content": "x"}], "", "", True, {}) is None


def test_jinja_is_not_imported():
    """Its import takes longer than all else on the way to a first token."""
    code = ("import sys; from llamafile import chat_template, chat_formats; t = chat_formats.text_of_name('llama3'); "
            "assert not chat_template.late(t); assert chat_template.late(t + ' '); "
            "print(chat_template.render(t, [{'role': 'user', 'content': 'x'}]), 'jinja2' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n False\n")

"""Chat templates: named formats against published renderings, GGUF templates against transformers, and the sandbox."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafile.chat_formats import NAMES
from llamafile.chat_template import render, text_of
from llamafile.errors import LlamafileError

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Block tags that stand alone in lines, with indentation: what trim_blocks and lstrip_blocks are for.
INDENTED = """
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{{ bos_token }}
{% for message in rest %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate') }}
    {% endif %}
    {% if message['role'] == 'user' %}
  [U]{{ message['content'] | trim }}
    {% else %}
        {% generation %}[A]{{ message['content'] }}{{ eos_token }}{% endgeneration %}
    {% endif %}
    {% if message.content == 'skip' %}{% continue %}{% endif %}
{% endfor %}
{{ messages | tojson }} {{ {'a<b>': "it's"} | tojson(indent=2) }}
"""


def turns(*contents, system=None):
    roles = ("user", "assistant")
    found = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return [{"role": "system", "content": system}, *found] if system is not None else found


def named(name, messages, **more):
    return render(text_of(name, None, "x"), messages, bos="<s>", eos="</s>", **more)


HELLO = turns("Hello, how are you?", "I'm doing great. How can I help you today?",
              "I'd like to show off how chat templating works!")

# Renderings as the models' cards and the documentation of transformers show them.
PUBLISHED = [
    ("chatml", HELLO,
     "<|im_start|>user\nHello, how are you?<|im_end|>\n<|im_start|>assistant\nI'm doing great. How can I help you "
     "today?<|im_end|>\n<|im_start|>user\nI'd like to show off how chat templating works!<|im_end|>\n"
     "<|im_start|>assistant\n"),
    ("zephyr", turns("How many helicopters can a human eat in one sitting?",
                     system="You are a friendly chatbot who always responds in the style of a pirate"),
     "<|system|>\nYou are a friendly chatbot who always responds in the style of a pirate</s>\n<|user|>\nHow many "
     "helicopters can a human eat in one sitting?</s>\n<|assistant|>\n"),
    ("llama2", turns("There's a llama in my garden 😱 What should I do?", "Feed it.", "And then?", system="Be brief."),
     "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nThere's a llama in my garden 😱 What should I do? [/INST] Feed it. </s>"
     "<s>[INST] And then? [/INST]"),
    ("llama3", turns("What can you help me with?",
                     system="You are a helpful AI assistant for travel tips and recommendations"),
     "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful AI assistant for travel tips and recommendations"
     "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhat can you help me with?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ("mistral", HELLO,
     "[INST] Hello, how are you? [/INST]I'm doing great. How can I help you today?</s>[INST] I'd like to show off how "
     "chat templating works! [/INST]"),
    ("mistral-v3", turns("u1", " a1 ", "u2", system="S"), "[INST] S\n\nu1[/INST] a1</s>[INST] u2[/INST]"),
    ("mistral-v3-tekken", turns("u1", "a1", "u2"), "[INST]u1[/INST]a1</s>[INST]u2[/INST]"),
    ("mistral-v7", turns("u1", "a1", "u2", system="S"),
     "[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] u1[/INST] a1</s>[INST] u2[/INST]"),
    ("gemma", turns("knock knock", "who is there", "Gemma"),
     "<start_of_turn>user\nknock knock<end_of_turn>\n<start_of_turn>model\nwho is there<end_of_turn>\n"
     "<start_of_turn>user\nGemma<end_of_turn>\n<start_of_turn>model\n"),
    ("gemma", turns("hi", system="Be kind."),
     "<start_of_turn>user\nBe kind.\n\nhi<end_of_turn>\n<start_of_turn>model\n"),
    ("phi3", turns("How to explain Internet for a medieval knight?"),
     "<|user|>\nHow to explain Internet for a medieval knight?<|end|>\n<|assistant|>\n"),
    ("phi4", turns("How should I explain the Internet?", system="You are a medieval knight."),
     "<|im_start|>system<|im_sep|>You are a medieval knight.<|im_end|><|im_start|>user<|im_sep|>How should I explain "
     "the Internet?<|im_end|><|im_start|>assistant<|im_sep|>"),
    ("vicuna", turns("Hello!", "Hello!", "How are you?", system="A chat."),
     "A chat.\n\nUSER: Hello!\nASSISTANT: Hello!</s>\nUSER: How are you?\nASSISTANT:"),
    ("deepseek", turns("write a quick sort algorithm in python.", system="You are an AI programming assistant.\n"),
     "You are an AI programming assistant.\n### Instruction:\nwrite a quick sort algorithm in python.\n"
     "### Response:\n"),
    ("deepseek2", turns("u1", "a1", "u2", system="S"), "S\n\nUser: u1\n\nAssistant: a1</s>User: u2\n\nAssistant:"),
    ("deepseek3", turns("u1", "a1", "u2", system="S"), "S<｜User｜>u1<｜Assistant｜>a1</s><｜User｜>u2<｜Assistant｜>"),
    ("openchat", turns("Hello", "Hi", "How are you today?"),
     "GPT4 Correct User: Hello<|end_of_turn|>GPT4 Correct Assistant: Hi<|end_of_turn|>GPT4 Correct User: How are you "
     "today?<|end_of_turn|>GPT4 Correct Assistant:"),
    ("alpaca", turns("Name three fruits.", system="Below is an instruction."),
     "Below is an instruction.\n\n### Instruction:\nName three fruits.\n\n### Response:\n"),
]


@pytest.mark.parametrize(("name", "messages", "expected"), PUBLISHED)
def test_named_formats_are_what_was_published(name, messages, expected):
    assert named(name, messages) == expected


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"gpt-oss"}))  # which opens a channel of its own for the answer
def test_a_turn_added_leaves_what_was_there(name):
    before = named(name, turns("u1", system="S")) + "a1"
    after = named(name, turns("u1", "a1", "u2", system="S"))
    assert "".join(after.split()).startswith("".join(before.split()))


def test_no_generation_prompt():
    assert named("chatml", turns("x"), add_generation_prompt=False) == "<|im_start|>user\nx<|im_end|>\n"


def test_content_is_never_a_template():
    assert "{{ 7 * 7 }}{% endfor %}" in named("chatml", turns("{{ 7 * 7 }}{% endfor %}"))


@pytest.mark.parametrize("template", [SMOLLM2, INDENTED], ids=["smollm2", "indented"])
def test_equal_to_transformers(template):
    utilities = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(words, min_size=1, max_size=5), st.none() | words, st.booleans())
    def compare(contents, system, prompt):
        messages = turns(*contents, system=system)
        given_words = {"bos_token": "<s>", "eos_token": "</s>"}
        theirs, _ = utilities.render_jinja_template([messages], chat_template=template, add_generation_prompt=prompt,
                                                    **given_words)
        assert render(template, messages, bos="<s>", eos="</s>", add_generation_prompt=prompt) == theirs[0]

    compare()


def test_trimming_of_blocks_and_the_rest_of_the_environment():
    expected = (
        "<s>\n  [U]hi\n[A]yo</s>    "
        '\n[{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo"}] {\n  "a<b>": "it\'s"\n}'
    )
    found = render(INDENTED, turns(" hi ", "yo"), bos="<s>", eos="</s>")
    assert "".join(found.split()) == "".join(expected.split())
    assert '{\n  "a<b>": "it\'s"\n}' in found


def test_strftime_now():
    assert render("{{ strftime_now('%Y') }}", []) == time.strftime("%Y")


def test_extra_variables():
    assert render("{{ enable_thinking }} {{ tools is none }}", [], extra={"enable_thinking": False}) == "False True"


@pytest.mark.parametrize(("template", "reason"), [
    ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    ("{% if %}", "Expected an expression"),
    ("{{ messages[0].__class__.__mro__ }}", "unsafe"),
    ("{{ messages.append(1) }}", "safely callable|unsafe"),
    ("{% for i in range(10**9) %}x{% endfor %}", "[Rr]ange"),
    ("{{ 1 / 0 }}", "division"),
    ("{{ missing.attribute }}", "undefined"),
    ("{{ messages[0]['content'] + 1 }}", "str"),
    ("{% include 'other' %}", "loader"),
    ("{{ cycler.__init__.__globals__.os.system('true') }}", "unsafe|undefined"),
])
def test_templates_that_fail_are_one_line(template, reason):
    with pytest.raises(LlamafileError, match=rf"^chat template: .*{reason}.*; choose another with --chat-template$"):
        render(template, turns("x"))


def test_choices():
    assert text_of(None, "OWN", "m") == "OWN"
    assert text_of("{{ messages }}", None, "m") == "{{ messages }}"
    with pytest.raises(LlamafileError, match=r"^model\.gguf: has no chat template; name one with --chat-template$"):
        text_of(None, None, "model.gguf")
    with pytest.raises(LlamafileError, match=r"^--chat-template frob: no such template; .*chatml"):
        text_of("frob", "OWN", "m")

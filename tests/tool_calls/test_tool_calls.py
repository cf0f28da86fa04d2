"""Calls in each family's format: read the same however they are split, held to their schemas, never an exception."""

from __future__ import annotations

import json
import random

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafile import chat_template
from llamafile.errors import LlamafileError
from llamafile.tool_calls import plan
from tests.grammar.walks import Masks

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
PYTHON = {
    "type": "function",
    "function": {
        "name": "python",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}
TOOLS = [WEATHER, PYTHON]
HERMES, LLAMA = "tools <tool_call>", 'tools <|start_header_id|> "parameters"'
PARIS, CODE = ["get_weather", {"city": 'Par}is"', "days": 3}], ["python", {"code": "1"}]
A, B = json.dumps(PARIS[1]), json.dumps(CODE[1])
DEEPSEEK = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
)
_C, _O, _S, _E, _X = DEEPSEEK
# name: what the template shows, the end of the prompt, an answer, what is said, the calls.
CASES = {
    "hermes": (
        HERMES,
        "",
        f'Let me see.\n<tool_call>\n{{"name": "get_weather", "arguments": {A}}}\n</tool_call>\n<tool_call>\n'
        f'{{"name": "python", "arguments": {B}}}\n</tool_call>',
        "Let me see.",
        [PARIS, CODE],
    ),
    "qwen3-coder": (
        "tools <tool_call> <function= <parameter=",
        "",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n"
        'Par}is"\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>',
        "",
        [PARIS],
    ),
    "mistral": (
        "tools [TOOL_CALLS]",
        "",
        f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {A}, "id": "abcdefg12"}}, '
        f'{{"name": "python", "arguments": {B}}}]',
        "",
        [PARIS, CODE],
    ),
    "mistral-v11": (
        "tools [TOOL_CALLS] [ARGS]",
        "",
        f"hi[TOOL_CALLS]get_weather[ARGS]{A}[TOOL_CALLS]python[ARGS]{B}",
        "hi",
        [PARIS, CODE],
    ),
    "llama3": (LLAMA, "", f'{{"name": "get_weather", "parameters": {A}}}', "", [PARIS]),
    "functionary-v3.1": ("tools <function= </function>", "", f"<function=get_weather>{A}</function>", "", [PARIS]),
    "functionary-v3.2": (
        "tools >>>all",
        "assistant\n>>>",
        f"all\nHello>>>get_weather\n{A}\n>>>python\n{B}",
        "Hello",
        [PARIS, CODE],
    ),
    "granite": (
        "tools <|tool_call|> <|start_of_role|>",
        "",
        f'<|tool_call|>[{{"name": "get_weather", "arguments": {A}}}, {{"name": "python", "arguments": {B}}}]',
        "",
        [PARIS, CODE],
    ),
    "deepseek-v3": (
        "tools <｜tool▁call▁begin｜> ```json",
        "",
        f"x{_C}{_O}function{_S}get_weather\n```json\n{A}\n```{_E}\n{_O}function{_S}python\n```json\n{B}\n```{_E}{_X}",
        "x",
        [PARIS, CODE],
    ),
    "deepseek-v3.1": (
        "tools <｜tool▁call▁begin｜>",
        "",
        f"{_C}{_O}get_weather{_S}{A}{_E}{_O}python{_S}{B}{_E}{_X}",
        "",
        [PARIS, CODE],
    ),
    "function-gemma": (
        "tools <start_function_call>",
        "",
        '<start_function_call>call:get_weather{city:<escape>Par}is"<escape>,days:3}<end_function_call>',
        "",
        [PARIS],
    ),
    "gemma4": (
        "tools <|tool_call>call:",
        "",
        '<|tool_call>call:get_weather{city:<|"|>Par}is"<|"|>,days:3}<tool_call|>',
        "",
        [PARIS],
    ),
    "command-r7b": (
        "tools <|START_ACTION|>",
        "",
        f'<|START_ACTION|>[\n    {{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {A}}},\n'
        f'    {{"tool_call_id": "1", "tool_name": "python", "parameters": {B}}}\n]<|END_ACTION|>',
        "",
        [PARIS, CODE],
    ),
    "gpt-oss": (
        "tools <|channel|> <|message|>",
        "",
        f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{A}",
        "",
        [PARIS],
    ),
    "generic": (
        "no word about them",
        "",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {A}}}\n</tool_call>',
        "",
        [PARIS],
    ),
}


def merged(deltas):
    """What a client has in the end: content, reasoning, and each call's name and arguments."""
    content, reasoning, calls = "", "", []
    for delta in deltas:
        assert len(delta) == 1
        content += delta.get("content", "")
        reasoning += delta.get("reasoning_content", "")
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(calls):
                assert call["id"] and call["type"] == "function" and call["function"]["arguments"] == ""
                calls.append([call["function"]["name"], ""])
            else:
                assert call["index"] == len(calls) - 1 and set(call["function"]) == {"arguments"}
                calls[-1][1] += call["function"]["arguments"]
    return content, reasoning, calls


def pieces(text, seed):
    chance, at = random.Random(seed), 0
    while at < len(text):
        size = len(text) if seed == 0 else 1 if seed == 1 else chance.randint(1, 9)
        yield text[at : at + size]
        at += size


def read(planned, text, prompt="", seed=0):
    parser, deltas = planned.parser(prompt), []
    for piece in pieces(text, seed):
        deltas += parser.feed(piece)
    return merged(deltas + parser.close())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_each_format_is_read(name, seed):
    template, prompt, text, content, calls = CASES[name]
    planned = plan(template, TOOLS)
    assert planned.format == name
    said, thought, found = read(planned, text, prompt, seed)
    assert (said, thought, [[n, json.loads(a)] for n, a in found]) == (content, "", calls)


def test_arguments_come_in_pieces():
    parser, sizes = plan(HERMES, TOOLS).parser(), []
    for char in CASES["hermes"][2]:
        for delta in parser.feed(char):
            sizes += [len(c["function"]["arguments"]) for c in delta.get("tool_calls", ())]
    assert sizes.count(1) > 30 and max(sizes) <= 2


@pytest.mark.parametrize(
    ("text", "prompt", "format", "expected"),
    [
        ("<think>\na <tool_call> b\n</think>\n\nhi", "", "auto", ("hi", "a <tool_call> b")),
        ("a\n</think>\nhi\n", "x<think>\n", "deepseek", ("hi\n", "a")),
        ("<think>a</think>hi", "", "none", ("<think>a</think>hi", "")),
        ("  <thin", "", "auto", ("  <thin", "")),
        ("<think>never ends", "", "auto", ("", "never ends")),
    ],
)
def test_thoughts_are_split_off(text, prompt, format, expected):
    for tools in (None, TOOLS):
        for seed in range(4):
            planned = plan(HERMES + "<think>", tools, reasoning_format=format)
            assert read(planned, text, prompt, seed)[:2] == expected


@pytest.mark.parametrize(
    "text",
    [
        'a <tool_call> broken {"x"} </tool_call> b',
        '<tool_call>\n{"name": "nobody", "arguments": {}}\n</tool_call>',
        '<tool_call>{"name": "python", "arguments": 3}</tool_call>',
        "<tool_call>",
        '<tool_call>{"name": "python"',
        "a < b\n\n",
    ],
)
def test_what_is_no_call_is_text(text):
    for seed in range(4):
        assert read(plan(HERMES, TOOLS), text, "", seed) == (text, "", [])


def test_llama_says_json_too():
    assert read(plan(LLAMA, TOOLS), '{"answer": {"n": 1}} done')[0] == '{"answer": {"n": 1}} done'
    assert read(plan(LLAMA, TOOLS), "<|python_tag|>print(1)")[2] == [["python", '{"code": "print(1)"}']]
    call = '{"type": "function", "name": "python", "parameters": {"code": "1"}}'
    assert read(plan(LLAMA, TOOLS), call)[2] == [["python", '{"code": "1"}']]


scraps = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "{",
        "}",
        '"name": "python"',
        ", ",
        '"arguments": ',
        '{"code": "x"}',
        "\n",
        " ",
        "<think>",
        "</think>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[",
        "]",
        "<function=python>",
        "<parameter=code>",
        "</parameter>",
        "</function>",
        ">>>",
        "python",
        "all\n",
        "<|tool_call|>",
        "<|python_tag|>",
        *DEEPSEEK,
        "```json\n",
        "```",
        '{"name": "python", "arguments": ',
        "<|channel|>analysis",
        "<|channel|>commentary to=functions.python <|constrain|>json",
        "<|message|>",
        "<|end|>",
        "<|start|>assistant",
        "<|call|>",
        "<|START_ACTION|>[",
        '{"tool_call_id": "0", "tool_name": "python", "parameters": ',
        "<|END_ACTION|>",
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        "<|START_RESPONSE|>",
        "<|END_RESPONSE|>",
        "<response>",
        "</response>",
        "<start_function_call>",
        "call:python{code:<escape>",
        "<escape>}",
        "<end_function_call>",
        "\\",
        '"',
        "é",
        "x",
    ]
)


BLOCKS = [
    f'{{"name": "get_weather", "arguments": {A}}}',
    f'\n```json\n{{\n  "name": "get_weather",\n  "arguments": {A}\n}}\n```',
    f'```\n{{"name": "get_weather", "arguments": {A}}}\n```',
    f'```json\n{{"arguments": {A}, "name": "get_weather"}}\n```\n',
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("template", [HERMES, "x"])
def test_calls_without_the_tags_they_should_have(template, seed):
    """As Qwen2.5-Coder writes them; only at the beginning of an answer, and only calls of tools that there are."""
    planned = plan(template, TOOLS)
    for text in BLOCKS:
        content, _, calls = read(planned, text, "", seed)
        assert (content, [[n, json.loads(a)] for n, a in calls]) == ("", [PARIS]), text
        assert read(planned, "So: " + text, "", seed)[::2] == ("So: " + text, [])
        other = text.replace("get_weather", "get_word")
        assert read(planned, other, "", seed) == (other, "", [])
    both = f'```json\n{{"name": "get_weather", "arguments": {A}}}\n{{"name": "python", "arguments": {B}}}\n```'
    content, _, calls = read(planned, both, "", seed)
    assert (content, [[n, json.loads(a)] for n, a in calls]) == ("", [PARIS, CODE])


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(CASES)), st.lists(scraps | st.text(max_size=3), max_size=14), st.integers(2, 99))
def test_any_text_in_any_pieces_gives_the_same(name, parts, seed):
    template, prompt, text = CASES[name][0] + "<think><response>", CASES[name][1], "".join(parts)
    whole = read(plan(template, TOOLS), text, prompt)
    assert read(plan(template, TOOLS), text, prompt, seed) == whole == read(plan(template, TOOLS), text, prompt, 1)


def drive(rule, tokenizer, text):
    """Whether a text's tokens may come in turn; and the matcher behind them."""
    matcher, masks = rule.matcher(), Masks(tokenizer)
    for id in tokenizer.encode(text, add_special=False):
        if id not in masks.ids(matcher):
            return False, matcher
        matcher.accept(id)
    return True, matcher


@pytest.mark.models
@pytest.mark.parametrize("name", CASES)
def test_answers_are_held_to_the_format(name, qwen):
    template, prompt, text, content, _ = CASES[name]
    fits, matcher = drive(plan(template, TOOLS).constraint(qwen, prompt), qwen, text)
    assert fits and not matcher.free and matcher.may_end, name
    if not content:
        fits, matcher = drive(plan(template, TOOLS, "required").constraint(qwen, prompt), qwen, text)
        assert fits and matcher.may_end
    for right, wrong in (('"days": 3', '"days": 0'), ("days:3", "days:0"), ("days:3", "weeks:3")):
        if right in text:
            assert not drive(plan(template, TOOLS).constraint(qwen, prompt), qwen, text.replace(right, wrong))[0]


@pytest.mark.models
def test_a_required_call_is_written_by_chance(qwen):
    """Random allowed tokens from nothing: what comes is a call whose arguments fit the schema."""
    tool = {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 77}},
                "required": ["n"],
            },
        },
    }
    for template in (HERMES, LLAMA, "tools [TOOL_CALLS] [ARGS]", "tools <function= </function>", "x",
                     "tools <start_function_call>", "tools <|tool_call>call:", "tools <|START_ACTION|>",
                     "tools <|channel|> <|message|>"):
        planned, masks, chance = (
            plan(template, [tool], "required", parallel=False),
            Masks(qwen),
            np.random.default_rng(4),
        )
        text = None
        while text is None:
            text = masks.walk(planned.constraint(qwen), chance, steps=30, closers=b'"]}034')
        content, _, calls = read(planned, text.decode())
        assert not content.strip() and len(calls) == 1 and calls[0][0] == "f", text
        assert 3 <= json.loads(calls[0][1])["n"] <= 77


RICH = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 4},
        "unit": {"enum": ["c", "f", 3, None]},
        "code": {"type": "string", "pattern": "^[a-c]{2}$"},
        "list": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        "in": {"type": "object", "properties": {"x": {"type": "integer", "maximum": 9}}, "required": ["x"]},
        "any": {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 5, "maximum": 8}]},
    },
    "required": ["city", "unit", "code", "list", "in", "any"],
    "additionalProperties": False,
}


@pytest.mark.models
@pytest.mark.parametrize("template", ["tools <start_function_call>", "tools <|tool_call>call:"])
def test_gemma_s_spelling_follows_schemas_too(template, qwen):
    tool = {"type": "function", "function": {"name": "f", "parameters": RICH}}
    planned, masks, chance = plan(template, [tool], "required", parallel=False), Masks(qwen), np.random.default_rng(2)
    seen = 0
    for _ in range(40):
        text = masks.walk(planned.constraint(qwen), chance, steps=60, closers=b'}]>"')
        try:
            whole = text.decode() if text is not None else ""
        except UnicodeDecodeError:
            continue
        if whole:
            content, _, calls = read(planned, whole)
            assert not content.strip() and len(calls) == 1, whole
            jsonschema.validate(json.loads(calls[0][1]), RICH)
            seen += 1
    assert seen >= 10


@pytest.mark.models
def test_choices(qwen):
    good = CASES["hermes"][2].removeprefix("Let me see.\n")
    assert drive(plan(HERMES, TOOLS, "required").constraint(qwen), qwen, good)[0]
    assert not drive(plan(HERMES, TOOLS, "required", parallel=False).constraint(qwen), qwen, good)[0]
    assert not drive(plan(HERMES, TOOLS, "required").constraint(qwen), qwen, "Hello")[0]
    one = {"type": "function", "function": {"name": "python"}}
    assert not drive(plan(HERMES, TOOLS, one).constraint(qwen), qwen, good)[0]
    none = plan(HERMES, TOOLS, "none")
    assert none.constraint(qwen) is None and none.tools is None and read(none, good) == (good, "", [])
    fits, matcher = drive(
        plan(HERMES + "<think>", TOOLS).constraint(qwen), qwen, "<think>\n<tool_call> no\n</think>\n\nhi"
    )
    assert fits and matcher.free
    fits, matcher = drive(
        plan(HERMES + "<think>", TOOLS, "required").constraint(qwen, "<think>\n"), qwen, "so\n</think>\n" + good
    )
    assert fits and matcher.may_end
    answer = plan("<think>", response=("json_schema", {"type": "object"})).constraint(qwen, "<think>\n")
    assert drive(answer, qwen, 'hm {\n</think>\n\n{"a": 1}')[0] and not drive(answer, qwen, "hm</think>\n\nx")[0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (([{"type": "function"}],), "tools[0]: is no function"),
        (
            ([{"type": "function", "function": {"name": "a b"}}],),
            "tools[0].function.name: must be up to 128 letters, digits and _-.:/",
        ),
        ((TOOLS, "sometimes"), "tool_choice: 'sometimes' is neither auto, none, required nor the name of a tool"),
        (([], "required"), "tool_choice: a call is required, but there are no tools"),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments, problem):
    with pytest.raises(LlamafileError) as caught:
        plan(HERMES, *arguments)
    assert str(caught.value) == problem


def test_models_that_know_nothing_of_tools_are_told():
    planned = plan("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}", TOOLS)
    call = {"id": "c1", "type": "function", "function": {"name": "python", "arguments": '{"code": "1"}'}}
    messages = planned.messages(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "content": "2"},
        ]
    )
    text = chat_template.render(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}", messages, tools=planned.tools
    )
    assert (
        planned.tools is None
        and '"name": "get_weather"' in text
        and text.startswith("[system]Be brief.\n\nYou can call")
    )
    assert text.endswith(
        '[user]hi[assistant]<tool_call>\n{"name": "python", "arguments": {"code": "1"}}\n</tool_call>[user]'
        "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>"
    )

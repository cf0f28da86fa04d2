"""Thoughts, what is said and calls are told apart wherever an answer is cut, as each family marks them."""

from __future__ import annotations

import json

import pytest

from llamafile.tool_calls import plan

from .test_tool_calls import CODE, PARIS, TOOLS, A, drive, merged

# What a template of the family shows of it (facts of the families, no template of anybody).
QWEN3 = "{{ tools }}<tool_call></tool_call> <think>\n\n</think>"
DISTIL = "{{ content.split('</think>')[-1] }} <｜Assistant｜><think>\n"
GRANITE = "tools <|start_of_role|><|tool_call|> <think></think> <response></response>"
GRANITE_32 = "tools <|start_of_role|><|tool_call|> Here is my thought process: Here is my response:"
COMMAND = "tools <|START_THINKING|> <|END_THINKING|> <|START_ACTION|> <|START_RESPONSE|>"
MAGISTRAL = "tools [TOOL_CALLS] [ARGS] [THINK] [/THINK]"
SEED = "<seed:think> </seed:think>"
START = "<|start|>assistant"
HARMONY = "tools <|start|>assistant<|channel|> <|message|>"
CALL = f'{{"name": "get_weather", "arguments": {A}}}'
TAGGED = f"<tool_call>\n{CALL}\n</tool_call>"
# name: template, end of the prompt, answer, what is thought, said and called.
CASES = {
    "qwen3": (QWEN3, "", "<think>\nHm <b>.\n</think>\n\nHi\nyou", "Hm <b>.", "Hi\nyou", []),
    "qwen3 calls": (QWEN3, "", f"<think>\nHm\n</think>\n\nSee:\n{TAGGED}", "Hm", "See:", [PARIS]),
    "qwen3 calls in a block": (QWEN3, "", f"<think>\nHm\n</think>\n\n```json\n{CALL}\n```", "Hm", "", [PARIS]),
    "qwen3 told not to": (QWEN3, "<think>\n\n</think>\n\n", "Hi <think>", "", "Hi <think>", []),
    "a call that is only thought of": (QWEN3, "", f"<think>{TAGGED}</think>No.", TAGGED, "No.", []),
    "r1 distil": (DISTIL, "<think>\n", "So\n\n1 < 2\n</think>\n\n**2**", "So\n\n1 < 2", "**2**", []),
    "r1 distil, cut off": (DISTIL, "<think>\n", "So </thin", "So </thin", "", []),
    "granite 3.3": (GRANITE, "", "<think>Hm</think><response>Hi <x></response>", "Hm", "Hi <x>", []),
    "granite 3.3 calls": (GRANITE, "", f"<think>Hm</think><|tool_call|>[{CALL}]", "Hm", "", [PARIS]),
    "granite 3.2": (GRANITE_32, "", "Here is my thought process: Hm\n\nHere is my response: Hi", "Hm", "Hi", []),
    "command r7b": (COMMAND, "", "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|>", "Hm",
                    "Hi", []),
    "command r7b calls": (COMMAND, "", '<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n {"tool_call_id": "0", '
                          f'"tool_name": "get_weather", "parameters": {A}}}\n]<|END_ACTION|>', "Hm", "", [PARIS]),
    "magistral": (MAGISTRAL, "", f"[THINK]Hm[/THINK]Hi[TOOL_CALLS]get_weather[ARGS]{A}", "Hm", "Hi", [PARIS]),
    "seed": (SEED, "", "<seed:think>Hm</seed:think>Hi", "Hm", "Hi", []),
    "gpt-oss": (HARMONY, START, f"<|channel|>analysis<|message|>Hm <|x<|end|>{START}<|channel|>"
                "final<|message|>Hi\n<b>", "Hm <|x", "Hi\n<b>", []),
    "gpt-oss calls": (HARMONY, START, f"<|channel|>analysis<|message|>Hm<|end|>{START}<|channel|>commentary<|message|>"
                      f"See:<|end|>{START}<|channel|>commentary to=functions.get_weather <|constrain|>json"
                      f"<|message|>{A}<|call|>", "Hm", "See:", [PARIS]),
    "gpt-oss to, then channel": (HARMONY, START, " to=functions.python<|channel|>commentary json"
                                 '<|message|>{"code": "1"}<|call|>', "", "", [CODE]),
}  # fmt: skip


def in_pieces(planned, prompt, pieces):
    parser, deltas = planned.parser(prompt), []
    for piece in pieces:
        deltas += parser.feed(piece)
    said, thought, calls = merged(deltas + parser.close())
    return thought, said, [[name, json.loads(arguments)] for name, arguments in calls]


@pytest.mark.parametrize("name", CASES)
def test_wherever_it_is_cut(name):
    template, prompt, text, thought, said, calls = CASES[name]
    planned, expected = plan(template, TOOLS), (thought, said, calls)
    for place in range(len(text) + 1):
        assert in_pieces(planned, prompt, (text[:place], text[place:])) == expected, text[:place]
    for size in (1, 2, 3, 7):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert in_pieces(planned, prompt, pieces) == expected, size


@pytest.mark.parametrize("name", ["qwen3", "r1 distil", "granite 3.3", "command r7b", "seed", "gpt-oss"])
def test_without_tools(name):
    template, prompt, text, thought, said, _ = CASES[name]
    planned = plan(template)
    assert planned.special
    for place in range(len(text) + 1):
        assert in_pieces(planned, prompt, (text[:place], text[place:])) == (thought, said, [])


@pytest.mark.parametrize("name", ["qwen3", "r1 distil", "granite 3.3", "granite 3.2", "magistral", "seed"])
def test_none_leaves_them_in_the_text(name):
    template, prompt, text, *_ = CASES[name]
    assert in_pieces(plan(template, reasoning_format="none"), prompt, text) == ("", text, [])


def test_pieces_come_soon():
    """Nothing is held back but what may be a mark, and white space before one."""
    parser, seen = plan(QWEN3, TOOLS).parser(), []
    for char in "<think>\nab c\n</think>\n\nde < f":
        seen.append("".join(text for delta in parser.feed(char) for text in delta.values()))
    assert seen == [*[""] * 8, "a", "b", "", " c", *[""] * 11, "d", "e", "", "", " <", " f"]


@pytest.mark.models
@pytest.mark.parametrize("name", [name for name in CASES if "calls" in name and "block" not in name and "See" not in
                                  CASES[name][2]])
def test_a_required_call_may_be_thought_about(name, qwen):
    template, prompt, text, *_ = CASES[name]
    fits, matcher = drive(plan(template, TOOLS, "required").constraint(qwen, prompt), qwen, text)
    assert fits and matcher.may_end, name


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}


@pytest.mark.models
@pytest.mark.parametrize("name", [name for name in CASES if "calls" in name and "block" not in name])
def test_a_call_or_what_follows_a_schema(name, qwen):
    template, prompt, text, *_ = CASES[name]
    planned = plan(template, TOOLS, response=("json_schema", SCHEMA))
    rule = planned.constraint(qwen, prompt)
    if "See" not in text:
        fits, matcher = drive(rule, qwen, text.removesuffix("<|call|>"))
        assert fits and matcher.may_end
    before = "<|channel|>final<|message|>" if name.startswith("gpt") else ""
    fits, matcher = drive(rule, qwen, before + '{"n": 3}')
    assert fits and matcher.may_end
    assert in_pieces(planned, prompt, [before + '{"n": 3}']) == ("", '{"n": 3}', [])
    for wrong in ('{"n": 2}', "Hello", '{"m": 3}'):
        assert not drive(rule, qwen, before + wrong)[0]
    must = plan(template, TOOLS, "required", response=("json_schema", SCHEMA)).constraint(qwen, prompt)
    assert not drive(must, qwen, before + '{"n": 3}')[0]

"""What the commands do to a conversation, message by message."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafile.chat.dialogue import Dialogue, read_messages
from llamafile.errors import LlamafileError


def made(*words, system="sys"):
    """A dialogue of messages written as role:content, by the first letter of the role; f is an uploaded file."""
    dialogue = Dialogue(system)
    for word in words:
        letter, _, content = word.partition(":")
        if letter == "f":
            dialogue.add("system", content, file=content)
        else:
            dialogue.add({"u": "user", "a": "assistant", "s": "system"}[letter], content)
    return dialogue


def contents(dialogue):
    return " ".join(message["content"] for message in dialogue.messages)


@pytest.mark.parametrize(("words", "question", "left"), [
    (["u:1", "a:2", "u:3", "a:4"], "3", "sys 1 2"),
    (["u:1", "a:2"], "1", "sys"),
    (["u:1", "a:2", "u:3"], "3", "sys 1 2"),
    (["u:1", "a:2", "f:x"], "x", "sys 1 2"),
    (["f:x", "u:1", "a:2"], "1", "sys x"),
    (["a:2"], None, "sys"),
    ([], None, "sys"),
])
def test_undo(words, question, left):
    dialogue = made(*words)
    assert dialogue.undo() == question
    assert contents(dialogue) == left


@pytest.mark.parametrize(("words", "gone", "left"), [
    (["u:1", "a:2", "u:3", "a:4"], 2, "sys 3 4"),
    (["f:x", "u:1", "a:2"], 1, "sys 1 2"),
    (["u:1", "a:2", "a:3", "u:4"], 3, "sys 4"),
    (["a:1", "u:2"], 1, "sys 2"),
    ([], 0, "sys"),
])
def test_forget(words, gone, left):
    dialogue = made(*words)
    assert dialogue.forget() == gone
    assert contents(dialogue) == left


def test_forget_until_nothing_is_left():
    dialogue = made("u:1", "a:2", "u:3", system="")
    assert [dialogue.forget(), dialogue.forget(), dialogue.forget()] == [2, 1, 0]
    assert dialogue.messages == []


def test_clear_keeps_the_system_prompt_alone():
    dialogue = made("u:1", "a:2")
    assert dialogue.clear() == 2 and contents(dialogue) == "sys"
    uploaded = made("f:x", "u:1", system="")
    assert uploaded.clear() == 2 and uploaded.messages == []


def test_a_file_uploaded_first_is_no_system_prompt():
    dialogue = made("f:x", system="")
    assert dialogue.system == ""
    dialogue.instruct("be brief")
    assert contents(dialogue) == "be brief x" and dialogue.system == "be brief"
    dialogue.instruct("be long")
    assert contents(dialogue) == "be long x"
    dialogue.instruct("")
    assert contents(dialogue) == "x"


def test_take_answer_back():
    dialogue = made("u:1", "a:2", "a:3")
    assert dialogue.take_answer_back() and contents(dialogue) == "sys 1"
    assert not dialogue.take_answer_back()
    assert not made().take_answer_back() and not made("a:1").take_answer_back()


def test_push_and_pop_are_a_stack_of_copies():
    dialogue = made("u:1", "a:2")
    assert dialogue.push() == 1
    dialogue.add("user", "3")
    assert dialogue.push() == 2
    dialogue.clear()
    assert dialogue.pop() and contents(dialogue) == "sys 1 2 3"
    assert dialogue.pop() and contents(dialogue) == "sys 1 2"
    assert not dialogue.pop() and contents(dialogue) == "sys 1 2"


ROLES = st.sampled_from(["system", "user", "assistant"])
MESSAGE = st.builds(lambda role, content: {"role": role, "content": content.replace("\r\n", "\n")}, ROLES, st.text())


@given(st.lists(MESSAGE))
def test_what_is_saved_is_loaded(messages):
    dialogue, other = Dialogue(), Dialogue("gone")
    dialogue.messages = messages
    other.loads(dialogue.dumps(), "x")
    assert other.messages == messages
    assert json.loads(dialogue.dumps())["messages"] == messages


def test_loading_what_the_http_interface_takes():
    assert read_messages('[{"role": "user", "content": "hi", "name": "me"}]', "x") == [
        {"role": "user", "content": "hi"}]


@pytest.mark.parametrize("text", [
    "", "{", "7", "{}", '{"messages": 3}', '[{"role": "king", "content": "hi"}]', '[{"role": "user"}]', "[1]",
    '[{"role": "user", "content": ["parts"]}]', "[" * 100_000,
])
def test_what_is_no_conversation_changes_nothing(text):
    dialogue = made("u:1")
    with pytest.raises(LlamafileError, match=r"^f\.json: "):
        dialogue.loads(text, "f.json")
    assert contents(dialogue) == "sys 1"

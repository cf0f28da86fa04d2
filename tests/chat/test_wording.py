"""A conversation as the model reads it: templates of every temper, plain models, and a context that is too small."""

from __future__ import annotations

import pytest

from llamafile.arguments import read
from llamafile.chat.dialogue import Dialogue
from llamafile.chat.wording import Wording, fold
from llamafile.errors import LlamafileError
from tests.cli import scripted

STRICT = ("{{ bos_token }}{% for m in messages %}"
          "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
          "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
          "{% endif %}"
          "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
EASY = ("{% for m in messages %}[{{ m.role }}|{{ m.content }}]{% endfor %}"
        "{% if add_generation_prompt %}[assistant|{% endif %}")


class Tokenizer(scripted.Tokenizer):
    """Takes a text as well as bytes."""

    def encode(self, text, **more):
        return super().encode(text.encode(), **more)


def wording(template):
    model = scripted.Model(template)
    model.tokenizer = Tokenizer()
    return Wording(model, read([], environment={}))


def dialogue(*contents, system="sys"):
    made = Dialogue(system)
    for at, content in enumerate(contents):
        made.add("assistant" if at % 2 else "user", content)
    return made


def test_a_template_that_takes_system_messages():
    said = dialogue("hi", "ho", "file?")
    said.messages.insert(3, {"role": "system", "content": "a file", "file": "f"})
    assert wording(EASY).text(said.messages) == (
        "[system|sys][user|hi][assistant|ho][system|a file][user|file?][assistant|")


def test_a_template_that_does_not_gets_turns():
    said = dialogue("hi", "ho")
    said.add("system", "a file", file="f")
    said.add("user", "what?")
    assert wording(STRICT).text(said.messages) == (
        "<s><user>sys\n\nhi<assistant>ho<user>a file\n\nwhat?<assistant>")


def test_what_no_folding_helps_is_the_templates_own_complaint():
    with pytest.raises(LlamafileError, match="roles must alternate"):
        wording(STRICT).text([{"role": "assistant", "content": "x"}])


def test_fold_joins_turns_of_one_role_and_keeps_a_last_file():
    assert fold([{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
                 {"role": "system", "content": "f"}]) == [{"role": "user", "content": "a\n\nb\n\nf"}]


def test_a_model_without_a_template_goes_on():
    plain = wording(None)
    assert plain.plain
    said = dialogue("Once upon a time", " there was", "The end.", system="")
    assert plain.text(said.messages) == "Once upon a time there was\nThe end."


def test_the_template_may_write_the_beginning_itself():
    assert wording(STRICT).ids("<s>x").count(256) == 1
    assert wording(EASY).ids("x")[0] == 256


def test_the_oldest_is_forgotten_and_the_rest_stays():
    said = dialogue(*(f"message {at}" for at in range(21)))
    text, ids, forgotten = wording(EASY).fit(said, 400)
    assert forgotten and forgotten % 2 == 0
    assert len(ids) <= 200 and len(ids) == len(wording(EASY).ids(text))
    assert said.messages[0]["content"] == "sys" and said.messages[-1]["content"] == "message 20"
    assert said.messages[1]["content"] == f"message {forgotten}"
    assert wording(EASY).fit(said, 400)[2] == 0  # once, then there is room for a while


def test_a_file_stays_with_its_question():
    said = dialogue("x" * 300, "y")
    said.add("system", "the file", file="f")
    said.add("user", "what is in it?")
    _, _, forgotten = wording(EASY).fit(said, 300)
    assert forgotten == 2 and [m["content"] for m in said.messages] == ["sys", "the file", "what is in it?"]


def test_a_message_that_is_too_long_alone():
    said = dialogue("x" * 300, "y", "z" * 300)
    with pytest.raises(LlamafileError, match=r"^context: this needs \d+ tokens, the context holds 256; "):
        wording(EASY).fit(said, 256)

"""Turns a conversation into the tokens that the model reads, and makes it fit the context."""

from __future__ import annotations

from llamafile import chat_template
from llamafile.chat.dialogue import ASSISTANT, SYSTEM, USER
from llamafile.cli import texts
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.chat.dialogue import Dialogue, Message

FULL, AFTERWARDS = 3 / 4, 1 / 2  # of the context: from where the oldest is forgotten, and down to where


class Wording:
    """The model's chat template with its tokenizer; `plain` where it has none: then the text simply goes on."""

    def __init__(self, model: Any, options: Options) -> None:
        self.tokenizer = tokenizer = model.tokenizer
        own, choice = model.file.text("tokenizer.chat_template", None), texts.template_choice(options)
        self.plain = not own and choice is None
        self.template = "" if self.plain else chat_template.text_of(choice, own, model.file.label)
        self.variables = texts.template_variables(options)
        self.budget = options.reasoning_budget, options.reasoning_budget_message
        self.bos, self.eos = ("" if token is None else tokenizer.piece(token, True).decode("utf-8", "replace")
                              for token in (tokenizer.bos, tokenizer.eos))

    def text(self, messages: list[Message], answer: bool = True) -> str:
        """Return the conversation as text, up to where the model goes on if `answer`; LlamafileError from a template.

        A template that refuses system messages in the midst, or two of one role, gets them folded into turns.
        """
        if self.plain:
            return _running(messages)
        try:
            return self._render(messages, answer)
        except LlamafileError:
            folded = fold(messages)
            if folded == messages:
                raise
            return self._render(folded, answer)

    def _render(self, messages: list[Message], answer: bool) -> str:
        return chat_template.render(self.template, messages, bos=self.bos, eos=self.eos, extra=self.variables,
                                    add_generation_prompt=answer)

    def within(self, rule: Any, text: str) -> Any:
        """Return what the answer to a text must follow so that it keeps to --reasoning-budget as well."""
        if self.budget[0] < 0:
            return rule
        from llamafile import tool_calls

        return tool_calls.plan(self.template).within(rule, self.tokenizer, text, *self.budget)

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a whole conversation; a template may write the begin-of-text token itself."""
        own_start = bool(self.bos) and text.startswith(self.bos)
        ids = self.tokenizer.encode(text, add_special=not own_start, parse_special=not self.plain)
        if not ids:
            raise LlamafileError("chat template: writes nothing; choose another with --chat-template")
        return list(ids)

    def count(self, messages: list[Message]) -> int:
        """How many tokens messages have as they stand."""
        return len(self.ids(text)) if messages and (text := self.text(messages, answer=False)) else 0

    def fit(self, dialogue: Dialogue, n_ctx: int) -> tuple[str, list[int], int]:
        """Return the text, its tokens, and how many messages were forgotten to make them fit with room for an answer.

        What is forgotten is gone from the dialogue. Raises LlamafileError where the last message alone is too long.
        """
        text = self.text(dialogue.messages)
        ids, forgotten = self.ids(text), 0
        if len(ids) > n_ctx * FULL:
            while len(ids) > n_ctx * AFTERWARDS and _may_forget(dialogue):
                forgotten += dialogue.forget()
                text = self.text(dialogue.messages)
                ids = self.ids(text)
        if len(ids) >= n_ctx:
            raise LlamafileError(f"context: this needs {len(ids):,} tokens, the context holds {n_ctx:,}; shorten it, "
                                 "or start with a larger -c")
        return text, ids, forgotten


def _may_forget(dialogue: Dialogue) -> bool:
    """Whether something lies before the last question, which stays with what was uploaded for it."""
    messages = dialogue.messages
    last = max((at for at, message in enumerate(messages) if message["role"] == USER), default=0)
    while last and "file" in messages[last - 1]:
        last -= 1
    return last > (1 if dialogue.system else 0)


def _running(messages: list[Message]) -> str:
    """Return a text that goes on from turn to turn: what is typed begins a line, the model's words follow at once."""
    text = ""
    for message in messages:
        if message["role"] != ASSISTANT and text and not text.endswith("\n"):
            text += "\n"
        text += message["content"]
    return text


def fold(messages: list[Message]) -> list[Message]:
    """Return the messages for a template that knows only turns: system messages open the next turn of the user's,
    and messages of one role that follow each other are one."""
    folded: list[Message] = []
    waiting: list[str] = []
    for message in [*messages, {"role": "", "content": ""}]:
        if message["role"] == SYSTEM:
            waiting.append(message["content"])
            continue
        if waiting and message["role"] != USER:
            _join(folded, {"role": USER, "content": "\n\n".join(waiting)})
            waiting = []
        if message["role"]:
            _join(folded, {**message, "content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
    return folded


def _join(folded: list[Message], message: Message) -> None:
    """Append a message, to the last one where that has the same role."""
    if folded and folded[-1]["role"] == message["role"]:
        folded[-1] = {**folded[-1], "content": folded[-1]["content"] + "\n\n" + message["content"]}
    else:
        folded.append(dict(message))

"""A conversation as a list of messages: what the commands do to it, and how it is kept in a file."""

from __future__ import annotations

from llamafile.errors import LlamafileError

SYSTEM, USER, ASSISTANT = ROLES = ("system", "user", "assistant")
KIND, VERSION = "llamafile conversation", 1

Message = dict[str, str]


class Dialogue:
    """`messages` in order, each with role and content, and a stack of earlier states that /push keeps.

    The first message is the system prompt where it has that role; nothing but `instruct` and `load` changes it.
    """

    def __init__(self, system: str = "") -> None:
        self.messages: list[Message] = []
        self.stack: list[list[Message]] = []
        self.instruct(system)

    @property
    def system(self) -> str:
        """The system prompt, or nothing."""
        return self.messages[0]["content"] if self._first() else ""

    def instruct(self, text: str) -> None:
        """Replace the system prompt; an empty text takes it away."""
        del self.messages[: self._first()]
        if text:
            self.messages.insert(0, {"role": SYSTEM, "content": text})

    def _first(self) -> int:
        """How many messages belong to the system prompt: one or none."""
        return 1 if self.messages and self.messages[0]["role"] == SYSTEM and "file" not in self.messages[0] else 0

    def add(self, role: str, content: str, **more: str) -> None:
        """Append a message; `more` may hold reasoning_content, and file, the name of what was uploaded."""
        given = {key: text for key, text in more.items() if text}
        self.messages.append({"role": role, "content": content, **given})

    def clear(self) -> int:
        """Go back to just after the system prompt; return how many messages are gone."""
        gone = len(self.messages) - self._first()
        del self.messages[self._first() :]
        return gone

    def undo(self) -> str | None:
        """Take the last question and what follows it back; return the question, None where there is none."""
        for at in range(len(self.messages) - 1, self._first() - 1, -1):
            if self.messages[at]["role"] == USER or "file" in self.messages[at]:
                text = self.messages[at]["content"]
                del self.messages[at:]
                return text
        self.clear()  # an answer without a question, as /manual can write one
        return None

    def forget(self) -> int:
        """Drop the oldest message after the system prompt, a question with its answers; return how many are gone."""
        first = self._first()
        end = min(first + 1, len(self.messages))
        if end > first and self.messages[first]["role"] == USER:
            while end < len(self.messages) and self.messages[end]["role"] == ASSISTANT:
                end += 1
        del self.messages[first:end]
        return end - first

    def take_answer_back(self) -> bool:
        """Drop the answers at the end; return whether a question stands there then, to be answered anew."""
        at = len(self.messages)
        while at and self.messages[at - 1]["role"] == ASSISTANT:
            at -= 1
        if at == len(self.messages) or at <= self._first():
            return False
        del self.messages[at:]
        return True

    def push(self) -> int:
        """Keep the present state; return the stack's height."""
        self.stack.append(list(self.messages))
        return len(self.stack)

    def pop(self) -> bool:
        """Go back to the state kept last; False where none is kept."""
        if not self.stack:
            return False
        self.messages = self.stack.pop()
        return True

    def dumps(self) -> str:
        """Return the conversation as JSON: the messages have the form that the HTTP interface takes."""
        import json

        return json.dumps({"kind": KIND, "version": VERSION, "messages": self.messages}, ensure_ascii=False, indent=1)

    def loads(self, text: str, label: str) -> None:
        """Take the messages of a JSON text: one of `dumps`, or a bare list of messages; LlamafileError for another."""
        self.messages = read_messages(text, label)
        self.stack.clear()


def read_messages(text: str, label: str) -> list[Message]:
    """Return the messages in a JSON text; raises LlamafileError for what is no conversation, naming the label."""
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise LlamafileError(f"{label}: is not JSON ({wrong}); give a file that /save wrote") from None
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list):
        raise LlamafileError(f"{label}: holds no list of messages; give a file that /save wrote")
    return [_message(item, number, label) for number, item in enumerate(messages, 1)]


def _message(item: object, number: int, label: str) -> Message:
    """Check one message of a file and return it with the fields we know."""
    if not isinstance(item, dict) or item.get("role") not in ROLES or not isinstance(item.get("content"), str):
        raise LlamafileError(f"{label}: message {number} has no role of {', '.join(ROLES)} with a text as its content")
    known = ("role", "content", "reasoning_content", "file")
    return {key: item[key].replace("\r\n", "\n") for key in known if isinstance(item.get(key), str)}

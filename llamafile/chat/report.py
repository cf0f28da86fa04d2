"""What /context, /stack and /stats say."""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.chat.chat import Chat
    from llamafile.chat.dialogue import Dialogue

SHOWN = 60  # characters of a message in a list


def beginning(text: str) -> str:
    """Return the first words of a text, in one line."""
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else words[: SHOWN - 1] + "…"


def context(chat: Chat) -> str:
    """Return how many tokens the conversation has, and each of its messages."""
    chat.need_engine()
    messages, counts = chat.dialogue.messages, _counts(chat)
    lines = [f"{_share(counts[-1] if counts else 0, chat.engine.n_ctx)} in use, {len(messages)} messages"]
    for message, count, before in zip(messages, counts, [0, *counts], strict=False):
        name = message.get("file") or message["role"]
        lines.append(f"{max(0, count - before):7,}  {name:9}  {beginning(message['content'])}")
    return "\n".join(lines)


def _counts(chat: Chat) -> list[int]:
    """How many tokens the conversation has up to each message; a beginning that the template refuses counts later."""
    counts: list[int] = []
    messages = chat.dialogue.messages
    for end in range(1, len(messages) + 1):
        try:
            counts.append(chat.wording.count(messages[:end]))
        except LlamafileError:
            counts.append(counts[-1] if counts else 0)
    return counts


def _share(count: int, n_ctx: int) -> str:
    return f"{count:,} of {n_ctx:,} tokens ({100 * count / n_ctx:.0f} %)"


def stack(dialogue: Dialogue) -> str:
    """Return the kept states, the one that /pop takes first."""
    if not dialogue.stack:
        return "the stack is empty; /push keeps the present state"
    lines = []
    for number, messages in reversed(list(enumerate(dialogue.stack, 1))):
        last = messages[-1] if messages else {"role": "", "content": "nothing yet"}
        lines.append(f"{number:3}  {len(messages):4} messages  {last['role']:9}  {beginning(last['content'])}")
    return "\n".join(lines)


class Tally:
    """Adds up what the answers of a chat took."""

    def __init__(self) -> None:
        self.answers = self.prompt = self.cached = self.predicted = 0
        self.prompt_ms = self.predicted_ms = 0.0
        self.last: dict[str, float] = {}
        self.in_use = 0  # tokens of the context after the last answer

    def add(self, timings: dict[str, float], in_use: int) -> None:
        """Count one answer by the timings of its Result."""
        self.answers += 1
        self.cached += int(timings.get("cache_n", 0))
        self.prompt += int(timings.get("prompt_n", 0))
        self.predicted += int(timings.get("predicted_n", 0))
        self.prompt_ms += timings.get("prompt_ms", 0.0)
        self.predicted_ms += timings.get("predicted_ms", 0.0)
        self.last, self.in_use = dict(timings), in_use


def stats(chat: Chat) -> str:
    """Return tokens and tokens a second, of the last answer and of all, and the use of the context."""
    tally, last = chat.tally, chat.tally.last
    chat.need_engine()
    lines = [f"{'model':8}  {chat.engine.description}"]
    if last:
        lines.append(_row("prompt", int(last.get("prompt_n", 0)), last.get("prompt_ms", 0.0),
                          f"{int(last.get('cache_n', 0)):,} more were in the cache"))
        lines.append(_row("answer", int(last.get("predicted_n", 0)), last.get("predicted_ms", 0.0)))
        lines.append(_row("in all", tally.predicted, tally.predicted_ms, f"{tally.answers} answers, {tally.prompt:,} "
                          f"tokens read, {tally.cached:,} from the cache"))
    else:
        lines.append(f"{'answer':8}  none yet")
    lines.append(f"{'context':8}  {_share(tally.in_use, chat.engine.n_ctx)}")
    return "\n".join(lines)


def _row(name: str, tokens: int, ms: float, more: str = "") -> str:
    rate = f", {1000 * tokens / ms:.1f} a second" if ms > 0 and tokens else ""
    return f"{name:8}  {tokens:,} tokens in {ms / 1000:.2f} s{rate}" + (f"; {more}" if more else "")

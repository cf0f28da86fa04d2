"""The texts that flags give: prompt, system prompt, prefixes and stop texts, with files read and escapes undone."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.locate import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("'"): 39, ord('"'): 34, ord("\\"): 92}
_HEX = b"0123456789abcdefABCDEF"


class Texts:
    """All texts as bytes: `prompt` and `system` (None where not given), `in_prefix`, `in_suffix`, `reverse_prompts`."""

    def __init__(self, options: Options) -> None:
        typed = options.escape is not False  # what stands on the command line, unless --no-escape
        self.everywhere = options.escape is True  # files and what is typed as well, by -e itself
        self.prompt = self._read(options.prompt, options.prompt_file, typed)
        if options.prompt_binary is not None:
            self.prompt = read_bytes(options.prompt_binary)
        self.system = self._read(options.system_prompt, options.system_prompt_file, typed)
        self.in_prefix = self._word(options.in_prefix, typed)
        self.in_suffix = self._word(options.in_suffix, typed)
        self.reverse_prompts = [self._word(text, typed) for text in options.reverse_prompt if text]

    def _read(self, word: str | None, path: str | None, typed: bool) -> bytes | None:
        if word is not None:
            return self._word(word, typed)
        if path is None:
            return None
        text = read_bytes(path).removesuffix(b"\n")
        return unescaped(text) if self.everywhere else text

    @staticmethod
    def _word(word: str, typed: bool) -> bytes:
        text = word.encode("utf-8", "surrogateescape")
        return unescaped(text) if typed else text

    def line(self, text: bytes) -> bytes:
        """Return a typed line as it goes to the model."""
        return unescaped(text) if self.everywhere else text


def unescaped(text: bytes) -> bytes:
    """Turn \\n \\r \\t \\' \\" \\\\ and \\xHH into what they mean, and leave any other backslash alone."""
    if b"\\" not in text:
        return text
    out, at = bytearray(), 0
    while at < len(text):
        mark, following = text[at], text[at + 1 : at + 2]
        if mark != 92 or not following:
            out.append(mark)
            at += 1
        elif following[0] in _ESCAPES:
            out.append(_ESCAPES[following[0]])
            at += 2
        elif following == b"x" and len(text) >= at + 4 and text[at + 2] in _HEX and text[at + 3] in _HEX:
            out.append(int(text[at + 2 : at + 4], 16))
            at += 4
        else:
            out.append(mark)
            at += 1
    return bytes(out)


def is_conversation(options: Options) -> bool:
    """Whether turns go through a chat template; a prefix or suffix of one's own takes its place."""
    if options.in_prefix or options.in_suffix:
        return False
    return bool(options.conversation or options.instruct or options.chatml)


def template_choice(options: Options) -> str | None:
    """Return what --chat-template and its kin name: a name, a jinja text, or None for the model's own."""
    if options.chat_template_file is not None:
        return read_bytes(options.chat_template_file).decode("utf-8", "replace")
    if options.chat_template is not None:
        return options.chat_template
    return "alpaca" if options.instruct else "chatml" if options.chatml else None


def template_variables(options: Options) -> dict[str, object]:
    """Return the further variables that flags give: what --reasoning and its kin say, then --chat-template-kwargs.

    Raises LlamafileError where the latter is no JSON object.
    """
    told: dict[str, object] = {}
    if options.reasoning != "auto" or options.reasoning_budget == 0:
        told["enable_thinking"] = options.reasoning != "off" and options.reasoning_budget != 0
    if options.reasoning_effort not in ("", "default"):
        told["reasoning_effort"] = options.reasoning_effort
    return {**told, **_given_variables(options)}


def _given_variables(options: Options) -> dict[str, object]:
    if not options.chat_template_kwargs:
        return {}
    import json

    try:
        found = json.loads(options.chat_template_kwargs)
    except ValueError as wrong:
        raise LlamafileError(f"--chat-template-kwargs: is not JSON ({wrong}); give an object in braces") from None
    if not isinstance(found, dict):
        raise LlamafileError("--chat-template-kwargs: is JSON but no object; give an object in braces")
    return found

"""The forms a prompt may have: text, tokens, both mixed, an object, or a list of prompts."""

from __future__ import annotations

from llamafile.server.errors import unsupported
from llamafile.server.schema import INT32, integer, invalid, items, mapping, needing, text
from llamafile.server.schema import either as _either

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_PROMPTS = 256

OBJECT = needing(mapping(prompt_string=text(), multimodal_data=items(text())), "prompt_string")
_TOKEN = integer(0, INT32)
MIXED = items(_either(_TOKEN, text()))
ONE = _either(text(), MIXED, OBJECT)
PROMPT = _either(text(), OBJECT, items(_either(_TOKEN, text(), OBJECT, MIXED)),
                 about="text, token ids, both mixed in a list, or a list of prompts")


def tokens(served: Any, prompt: Any, field: str = "prompt") -> list[list[int]]:
    """Return the token ids of each prompt; raises Refused for an empty list, strange tokens, and images."""
    many = _several(prompt)
    if len(many) > MOST_PROMPTS:
        raise invalid(field, f"has {len(many)} prompts, at most {MOST_PROMPTS} are allowed")
    if not many:
        raise invalid(field, "is an empty list")
    return [_one(served, each, field) for each in many]


def _several(prompt: Any) -> list[Any]:
    """A list is one prompt where it holds tokens, alone or beside texts; else it is a list of prompts."""
    if not isinstance(prompt, list):
        return [prompt]
    simple = all(isinstance(each, (int, str)) for each in prompt)
    return [prompt] if simple and any(isinstance(each, int) for each in prompt) else prompt


def _one(served: Any, prompt: Any, field: str) -> list[int]:
    if isinstance(prompt, dict):
        if prompt.get("multimodal_data"):
            raise unsupported("This model takes no images or sounds; send text alone")
        prompt = prompt["prompt_string"]
    if prompt == []:
        raise invalid(field, "is an empty list")
    ids: list[int] = []
    for index, part in enumerate(prompt if isinstance(prompt, list) else [prompt]):
        if isinstance(part, int):
            if part >= served.model.n_vocab:
                raise invalid(field, f"there is no token {part}; the vocabulary ends at {served.model.n_vocab - 1}")
            ids.append(part)
        else:
            ids += served.tokenizer.encode(part, add_special=index == 0)
    if not ids:
        ids = [] if served.tokenizer.bos is None else [served.tokenizer.bos]
    if not ids:
        raise invalid(field, "is empty, and this model does not begin texts with a token")
    return ids

"""Makes text of strangers, above all a model's, harmless to a terminal: no control character reaches it."""

from __future__ import annotations

# Control characters of Unicode that turn the order of what is seen around: a text could read as what it is not.
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE = (0xFEFF, *range(0xE0000, 0xE0080))

_SEEN: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},  # ␛ for ESC and the like
    0x7F: "\u2421",
    **{code: f"<{code:02X}>" for code in range(0x80, 0xA0)},
    **{code: f"<U+{code:04X}>" for code in _BIDI},
    **dict.fromkeys(_INVISIBLE),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # halves of pairs, which no encoding can write
    0x2028: "\n",
    0x2029: "\n",
}


def seen(text: str) -> str:
    """Return the text with control characters as signs that name them; newlines and tabs stay, \\r\\n is a newline.

    Works on pieces of a text: no character depends on its neighbours, but for \\r, which stands for nothing.
    """
    return text.replace("\r", "").translate(_SEEN)

"""Writes unicode_table.h: what the pre-tokenizers ask about a character, from Unicode's categories.

Run `python -m llamafile.tokens.make_unicode` after installing `unicodedata2` of the wanted Unicode version (the
header names the one it was made from); without that package Python's own, usually older, tables serve.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata  # type: ignore[no-redef]

TARGET = Path(__file__).with_name("unicode_table.h")
BLOCK = 128  # characters: ASCII is the first block, and index and data together are near their smallest
FLAGS = {"Lu": 1, "Lt": 1, "Ll": 2, "Lm": 4, "Lo": 4, "M": 8, "N": 16, "P": 32, "S": 64}
SPACE = 128  # the property White_Space: all separators, and the controls below
CONTROL_SPACES = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85)


def flags(code):
    """Return the flags of one code point, as unicode.h names them."""
    category = unicodedata.category(chr(code))
    space = category[0] == "Z" or code in CONTROL_SPACES
    return FLAGS.get(category, FLAGS.get(category[0], 0)) | (SPACE if space else 0)


def blocks():
    """Return (index, data): the number of each block's data, and the different blocks one after another."""
    index, data, seen = [], [], {}
    for start in range(0, 0x110000, BLOCK):
        block = tuple(flags(code) for code in range(start, start + BLOCK))
        if block not in seen:
            seen[block] = len(seen)
            data.extend(block)
        index.append(seen[block])
    return index, data


def array(type, name, values):
    """Return a C array as text."""
    body = textwrap.fill(",".join(map(str, values)).replace(",", ", "), 118).replace(", ", ",")
    return f"const {type} {name}[{len(values)}] = {{\n{body}\n}};\n"


def header():
    """Return the whole header as text."""
    index, data = blocks()
    version = unicodedata.unidata_version
    return (f"/* Flags of every Unicode {version} character; written by make_unicode.py, not by hand. */\n"
            "#ifndef LF_UNICODE_TABLE_H\n#define LF_UNICODE_TABLE_H\n\n#include \"unicode.h\"\n\n"
            f'#define LF_UNICODE_VERSION "{version}"\n'
            + array("uint16_t", "lf_unicode_index", index) + "\n"
            + array("uint8_t", "lf_unicode_data", data) + "\n#endif\n")


if __name__ == "__main__":
    TARGET.write_text(header())

"""Writes unicode_table.h and nfc_table.h: what the tokenizers ask about characters, from Unicode's own data.

Run `python -m llamafile.tokens.make_unicode` after installing `unicodedata2` of the wanted Unicode version (the
headers name the one they were made from); without that package Python's own, usually older, tables serve.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

HERE = Path(__file__).parent
BLOCK = 128  # characters: ASCII is the first block, and index and data together are near their smallest
FLAGS = {"Lu": 1, "Lt": 1, "Ll": 2, "Lm": 4, "Lo": 4, "M": 8, "N": 16, "P": 32, "S": 64}
SPACE = 128  # the property White_Space: all separators, and the controls below
CONTROL_SPACES = (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85)
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic
JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # what Hangul composes with


def flags(code):
    """Return the flags of one code point, as unicode.h names them."""
    category = unicodedata.category(chr(code))
    space = category[0] == "Z" or code in CONTROL_SPACES
    return FLAGS.get(category, FLAGS.get(category[0], 0)) | (SPACE if space else 0)


def blocks(value):
    """Return (index, data) of a function of code points: each block's number, and the different blocks in a row."""
    index: list[int] = []
    data: list[int] = []
    seen: dict[tuple[int, ...], int] = {}
    for start in range(0, 0x110000, BLOCK):
        block = tuple(value(code) for code in range(start, start + BLOCK))
        if block not in seen:
            seen[block] = len(seen)
            data.extend(block)
        index.append(seen[block])
    return index, data


def array(type, name, values):
    """Return a C array as text."""
    body = textwrap.fill(", ".join(map(str, values)), 150).replace(", ", ",")
    return f"const {type} {name}[{len(values)}] = {{\n{body}\n}};\n"


def header(name, what, include, arrays):
    """Return a header as text."""
    guard = f"LF_{name.upper()}_H"
    return (f"/* {what} of Unicode {unicodedata.unidata_version}; written by make_unicode.py, not by hand. */\n"
            f'#ifndef {guard}\n#define {guard}\n\n#include "{include}"\n\n' + "\n".join(arrays) + "\n#endif\n")


def decompositions():
    """Return {code: (first, second)} of all canonical decompositions but Hangul's; second is 0 for a single one."""
    found = {}
    for code in range(0x110000):
        fields = unicodedata.decomposition(chr(code)).split()
        if fields and fields[0][0] != "<" and code not in HANGUL:
            first, second = ([int(f, 16) for f in fields] + [0])[:2]
            found[code] = first, second
    return found


def nfc_arrays():
    """Return the arrays of nfc.h."""
    pairs = decompositions()
    codes = sorted(pairs)
    composed = [i for i, c in enumerate(codes) if pairs[c][1] and unicodedata.normalize("NFC", chr(c)) == chr(c)]
    composed.sort(key=lambda i: pairs[codes[i]])
    unsure = {pairs[codes[i]][1] for i in composed} | set(JAMO)
    unsure |= {c for c in codes if unicodedata.normalize("NFC", chr(c)) != chr(c)}
    classes = sorted({unicodedata.combining(chr(c)) for c in range(0x110000)})
    assert len(classes) < 128, "a class and a flag must fit into a byte"
    number = {c: i for i, c in enumerate(classes)}
    index, data = blocks(lambda c: number[unicodedata.combining(chr(c))] << 1 | (c in unsure))
    return [array("uint16_t", "lf_nfc_index", index), array("uint8_t", "lf_nfc_data", data),
            array("uint8_t", "lf_nfc_class", classes), f"const uint32_t lf_nfc_codes = {len(codes)};\n",
            array("uint32_t", "lf_nfc_code", codes), array("uint32_t", "lf_nfc_first", [pairs[c][0] for c in codes]),
            array("uint32_t", "lf_nfc_second", [pairs[c][1] for c in codes]),
            f"const uint32_t lf_nfc_pairs = {len(composed)};\n", array("uint16_t", "lf_nfc_pair", composed)]


def main():
    """Write both headers."""
    index, data = blocks(flags)
    arrays = [array("uint16_t", "lf_unicode_index", index), array("uint8_t", "lf_unicode_data", data)]
    HERE.joinpath("unicode_table.h").write_text(header("unicode_table", "Flags of the characters", "unicode.h", arrays))
    HERE.joinpath("nfc_table.h").write_text(header("nfc_table", "The canonical compositions", "nfc.h", nfc_arrays()))


if __name__ == "__main__":
    main()

"""Write the C header of all formats from their declarations: one text, complete in itself, for C, CUDA and Metal."""

from __future__ import annotations

import os

from . import BY_ID
from .format import TYPES
from .laid_out import FLAG, ROWS, odds

FOLDER = os.path.dirname(os.path.abspath(__file__))


def header():
    """Return the text of formats.h: ids, structs, codebooks, and for each format lf_unpack_NAME and lf_decode_NAME."""
    known = [BY_ID[id] for id in sorted(BY_ID)]
    computed = [f for f in known if f.computed]
    quants = [f for f in computed if f.group]
    parts = ["/* Generated from runtime/quants by generate.py: the number formats. */\n"
             "#ifndef LF_FORMATS_H\n#define LF_FORMATS_H\n", _paste("portable")]
    parts.append("enum lf_format { " + ", ".join(f"LF_{f!r} = {f.id}" for f in known) + " };\n")
    parts.append(f"#define LF_LARGEST_BLOCK {max(f.size for f in quants)}\n#define LF_PANEL_ROWS {ROWS}\n"
                 f"#define LF_LAID_OUT {FLAG} /* the bit of a laid-out format's id */\n")
    parts.append("/* Bytes of a block that fill no dword, and how many of these stand in front (laid_out.py). */\n"
                 "enum lf_dwords { " + ", ".join("LF_ODDS_{0!r} = {1}, LF_LEAD_{0!r} = {2}".format(f, *odds(f))
                                                for f in quants) + " };\n")
    parts.append("enum lf_groups { " + ", ".join(f"LF_GROUP_{f!r} = {f.group}, LF_BIASED_{f!r} = {int(f.biased)}"
                                                for f in quants) + " };\n")
    parts += [_struct(f) for f in computed]
    parts += _codebooks(quants)
    parts += [_paste(family) for family in dict.fromkeys(f.family for f in computed)]
    parts += [_decode(f) for f in quants]
    parts.append(_macro("LF_FORMATS", "name, NAME, block", [f"{f.name}, {f!r}, {f.block}" for f in computed]))
    parts.append(_macro("LF_QUANTS", "name, NAME, block, group, biased",
                        [f"{f.name}, {f!r}, {f.block}, {f.group}, {int(f.biased)}" for f in quants]))
    return "\n".join(parts) + "#endif\n"


def _paste(stem):
    """Return the text of a neighbour, so that compilers without include folders can read the result."""
    with open(os.path.join(FOLDER, stem + ".h"), encoding="utf-8") as file:
        return file.read()


def _struct(format):
    """Return the C struct of a block and the assertion that its size is the declared one."""
    fields = " ".join(f"{TYPES[kind][0]} {name}{f'[{count}]' if count > 1 else ''};"
                      for name, kind, count in format.fields)
    return (f"typedef struct LF_BLOCK {{ {fields} }} lf_{format.name};\n"
            f"LF_CHECK(sizeof(lf_{format.name}) == {format.size}, \"{format.name} has {format.size} bytes\");")


def _codebooks(formats):
    """Return each codebook once, named after the first format that uses it."""
    tables: dict[tuple[int, ...], str] = {}
    for format in formats:
        if format.codebook:
            tables.setdefault(format.codebook, format.name)
    return [f"LF_TABLE int8_t lf_codebook_{name}[{len(codes)}] = {{ {', '.join(map(str, codes))} }};"
            for codes, name in tables.items()]


def _decode(format):
    """Return lf_decode_NAME, which is the integer form multiplied out: so the two cannot disagree."""
    groups = format.block // format.group
    plus = " + bias[g]" if format.biased else ""
    return (f"LF_DECODE({format.name}) {{\n"
            f"  int8_t q[{format.block}];\n"
            f"  float scale[{groups}], bias[{groups}];\n"
            f"  lf_unpack_{format.name}(b, q, scale, bias);\n"
            f"  for (int g = 0; g < {groups}; g++)\n"
            f"    for (int i = 0; i < {format.group}; i++)\n"
            f"      y[{format.group} * g + i] = scale[g] * (float)q[{format.group} * g + i]{plus};\n"
            "}\n")


def _macro(name, parameters, rows):
    """Return a macro that applies its argument X to one row after the other: X(parameters)."""
    return f"/* X({parameters}) */\n#define {name}(X) \\\n" + " \\\n".join(f"  X({row})" for row in rows) + "\n"

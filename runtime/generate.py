"""Write the C view of the declarations: ops.h (opcodes, specifications, bound arguments, the kernel table)."""

from __future__ import annotations

from .ops import OPS, seams

C_TYPE = {"int": "int32_t", "float": "float"}
DTYPES = {"any": "LF_ANY", "f32": "LF_F32", "i32": "LF_I32", "a8": "LF_A8"}


def ops_header():
    """The text of the generated ops.h."""
    alone = [o for o in OPS.values() if o.reference.__module__ == seams.__name__]
    common = [o for o in OPS.values() if o not in alone]
    return "\n".join(
        [
            "/* Generated from the declarations in runtime/ops; edit those. */",
            "#ifndef LF_OPS_H",
            "#define LF_OPS_H",
            '#include "call.h"',
            "enum { " + ", ".join(f"LF_OP_{n.upper()}" for n in OPS) + ", LF_OPS };",
            "/* Ops from this one on are the CPU's alone (ops/seams.py). */",
            f"#define LF_COMMON_OPS LF_OP_{alone[0].name.upper()}",
            *(_arguments(o) for o in OPS.values()),
            "#endif",
            "",
            "#ifdef LF_DEFINE_SPECS",
            "static const lf_spec lf_specs[LF_OPS] = {",
            *(_spec(o) for o in OPS.values()),
            "};",
            "#endif",
            "",
            "#ifdef LF_DEFINE_KERNELS",
            *(_entry(o) for o in common),
            "#ifdef LF_COMMON_ONLY",
            f"static lf_entry *const lf_entries[LF_COMMON_OPS] = {{{_entries(common)}}};",
            "#else",
            *(_entry(o) for o in alone),
            f"static lf_entry *const lf_entries[LF_OPS] = {{{_entries([*common, *alone])}}};",
            "#endif",
            "#endif",
            "",
        ]
    )


def abi_header(parts):
    """The text of the generated abi.h: one number for all that a GPU module must agree on, given as paths and texts."""
    import hashlib

    texts = [part if isinstance(part, str) else part.read_text() for part in parts]
    number = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    return f"/* Generated: modules made from other declarations are refused. */\n#define LF_ABI 0x{number}ull\n"


def _entries(ops):
    return ", ".join(f"lf_enter_{o.name}" for o in ops)


def _arguments(op):
    """The struct of an op's bound operands and attributes."""
    outs = [] if op.writes is not None else [f"out{i}" for i in range(len(op.outputs))]
    views = [*outs, *(i.name for i in op.inputs)]
    fields = [f"const lf_view *{', *'.join(views)};", *(f"{C_TYPE[t]} {n};" for n, t in op.attrs.items())]
    return f"typedef struct {{ {' '.join(fields)} }} lf_{op.name}_args;"


def _entry(op):
    """The kernel's prototype, and the function that binds a record's operands and calls it."""
    lines = [
        f"static void lf_{op.name}(const lf_call *call, const lf_{op.name}_args *a);",
        f"static void lf_enter_{op.name}(const lf_call *call, const int32_t *p) {{",
        f"    lf_{op.name}_args a;",
    ]
    at = len(op.outputs)
    if op.writes is None:
        lines += [f"    a.out{i} = lf_view_of(call, p[{i}]);" for i in range(at)]
    lines += [f"    a.{o.name} = lf_view_of(call, p[{at + i}]);" for i, o in enumerate(op.inputs)]
    at += len(op.inputs)
    lines += [f"    a.{n} = lf_{t}_of(p[{at + i}]);" for i, (n, t) in enumerate(op.attrs.items())]
    return "\n".join([*lines, f"    lf_{op.name}(call, &a);", "}"])


def _spec(op):
    """What C checks of an op's record when it opens a program: counts, dtypes, and shapes by unifying letters."""
    letters: dict[str, int] = {}
    for i, name in enumerate(op.attrs):
        letters[name] = -1 - i  # a letter that names an attribute is that attribute's value
    rows = [_operand(o, letters) for o in [*op.outputs, *op.inputs]]
    counts = f"{len(op.outputs)}, {len(op.inputs)}, {len(op.attrs)}, {-1 if op.writes is None else op.writes}"
    return f'    {{"{op.name}", {counts}, {{{", ".join(rows)}}}}},'


def _operand(operand, letters):
    """One operand's row: dtype, optional, rank, whether leading dims are free, letters innermost first, bound."""
    dims = list(reversed(operand.dims))
    free = bool(dims) and dims[-1] == "..."
    if free:
        dims.pop()
    codes = [_letter(d, letters) for d in dims]
    below = _letter(operand.below, letters) if operand.below else 0
    return "{{{}, {}, {}, {}, {{{}}}, {}}}".format(
        DTYPES[operand.dtype], int(operand.optional), len(dims), int(free), ", ".join(codes) or "0", below
    )


def _letter(letter, letters):
    """A letter's number (1 up), an attribute's (-1 down), or 1000 + n for the digit n."""
    if letter.isdigit():
        return str(1000 + int(letter))
    if letter not in letters:
        letters[letter] = 1 + sum(n > 0 for n in letters.values())
    return str(letters[letter])

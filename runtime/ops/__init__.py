"""The instruction set: every op's declaration. The C kernel of an op stands in the file of the same stem."""

from __future__ import annotations

from .attention import PAGE, SPLIT, attention, rope, rope_cells, rotation
from .declare import OPS, Op, RuntimeFault
from .elementwise import add, add_row, geglu, mul, scale, softcap, swiglu
from .experts import matmul_ids, matmul_ids_quantized, route, weighted_sum
from .matmul import matmul, matmul_quantized, quantize_rows
from .norm import add_rms_norm, rms_norm
from .rows import embed, move_cells, store, take_rows
from .seams import (
    add_rms_norm_quantize,
    gated_products,
    geglu_quantize,
    rms_norm_quantize,
    rope_store,
    swiglu_quantize,
)

__all__ = [
    "OPS", "PAGE", "SPLIT", "Op", "RuntimeFault", "add", "add_rms_norm", "add_rms_norm_quantize", "add_row",
    "attention", "embed", "gated_products", "geglu", "geglu_quantize", "matmul", "matmul_ids", "matmul_ids_quantized",
    "matmul_quantized", "move_cells", "mul", "quantize_rows", "rms_norm", "rms_norm_quantize", "rope", "rope_cells",
    "rope_store", "rotation", "route", "scale", "softcap", "store", "swiglu", "swiglu_quantize", "take_rows",
    "weighted_sum",
]  # fmt: skip

"""Formats that store each number by itself: floats, and the integers that the engine knows by size only."""

from __future__ import annotations

from .format import Format, quant, register


@quant(id=0, block=1, x="f32")
def f32(x):
    """IEEE 754 single precision."""
    return x


@quant(id=1, block=1, x="f16")
def f16(x):
    """IEEE 754 half precision."""
    return x


@quant(id=30, block=1, x="u16")
def bf16(x):
    """The upper half of a single: eight bits of exponent, seven of fraction."""
    return (x.astype("u4") << 16).view("f4")


for _name, _id, _size in (("i8", 24, 1), ("i16", 25, 2), ("i32", 26, 4), ("i64", 27, 8), ("f64", 28, 8)):
    register(Format(_name, _id, 1, _size))

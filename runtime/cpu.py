"""Instruction sets: which kernel tables this build has, which of them this processor runs, and which one is in use."""

from __future__ import annotations

from ._core import ffi, lib
from .ops import RuntimeFault


def names():
    """Every instruction set of this build, least first."""
    return [ffi.string(lib.lf_isa_name(i)).decode() for i in range(lib.lf_isa_count())]


def available():
    """Those that this processor runs."""
    return [name for i, name in enumerate(names()) if lib.lf_isa_runs(i)]


def chosen():
    """The one in use."""
    return names()[lib.lf_isa_chosen()]


def choose(name):
    """Use this one for programs opened from here on."""
    known = names()
    if name not in known or lib.lf_isa_choose(known.index(name)):
        raise RuntimeFault(f"--isa: {name} cannot be had here; choose one of {', '.join(available())}")

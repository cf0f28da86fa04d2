"""Other machines that run the same programs: sources of GPU modules, compiled where they are needed."""

from __future__ import annotations


class GpuFault(Exception):
    """Why a GPU cannot be had: one line that says what was looked for and what to do."""


class NoDriver(GpuFault):
    """This machine has no driver for a kind of GPU: most machines have none for most kinds."""

"""The one table of the program's flags; the reader, --help, completion and the man page are made from it."""

from __future__ import annotations

from llamafile.flags import constraint, devices, extras, loading, prompting, running, sampling, server
from llamafile.flags.row import Flag

GROUPS: tuple[tuple[str, tuple[Flag, ...]], ...] = tuple(
    (group.GROUP, group.FLAGS) for group in (running, prompting, sampling, constraint, loading, devices, server, extras)
)

TABLE: tuple[Flag, ...] = tuple(flag for _, flags in GROUPS for flag in flags)

# Spelling → (row, value of a switch by this spelling).
SPELLINGS: dict[str, tuple[Flag, bool]] = {}
for _flag in TABLE:
    for _name in _flag.names:
        SPELLINGS[_name] = (_flag, True)
    for _name in _flag.off:
        SPELLINGS[_name] = (_flag, False)

ENVIRONMENT: dict[str, Flag] = {flag.env: flag for flag in TABLE if flag.env}


def canonical(word: str) -> str:
    """Return a word of the command line as the table spells it: in long flags `_` is `-`."""
    return word.replace("_", "-") if word.startswith("--") else word

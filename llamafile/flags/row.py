"""What a row of the flag table holds: spellings, the kind of value, the default, and whether the flag works yet."""

from __future__ import annotations

# Kinds of value. MAYBE takes the next word only if it does not look like a flag: `--color` and `--color off` both do.
SWITCH, INT, FLOAT, TEXT, PATH = "switch", "int", "float", "text", "path"
CHOICE, MAYBE, LIST = "choice", "maybe", "list"

WORKS, NO_EFFECT, LATER = "works", "no effect", "later"

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


class Flag:
    """One row: everything that the reader, --help, completion and the man page say about a flag."""

    __slots__ = (
        "choices", "default", "dest", "env", "help", "high", "kind", "low", "metavar", "names", "note", "off", "quiet",
        "refused", "replaces", "status", "unlisted", "words",
    )

    def __init__(
        self,
        names: str,
        dest: str,
        kind: str,
        default: object,
        help: str,
        *,
        metavar: str = "",
        off: str = "",
        env: str = "",
        choices: tuple[str, ...] = (),
        words: tuple[tuple[str, int], ...] = (),
        low: float = INT32_MIN,
        high: float = INT32_MAX,
        replaces: tuple[str, ...] = (),
        refused: tuple[str, ...] = (),
        unlisted: tuple[str, ...] = (),
        status: str = WORKS,
        note: str = "",
        quiet: tuple[object, ...] = (),
    ) -> None:
        """Names are words separated by spaces; `off` spellings set a switch to False; `words` are names of numbers.

        `replaces` names destinations that go back to their defaults when this flag is given; `refused` are choices
        that no version before this one's successor can serve, `unlisted` ones are known but not shown; `note` is said
        once, unless the value is `quiet`.
        """
        self.names = tuple(names.split())
        self.off = tuple(off.split())
        self.dest = dest
        self.kind = kind
        self.default = default
        self.help = help
        self.metavar = metavar or METAVARS.get(kind, "")
        self.env = env
        self.choices = choices
        self.words = words
        self.low = low
        self.high = high
        self.replaces = replaces
        self.refused = refused
        self.unlisted = unlisted
        self.status = status
        self.note = note
        self.quiet = quiet

    @property
    def name(self) -> str:
        """The spelling that messages use: the first long one, else the first."""
        for name in self.names + self.off:
            if name.startswith("--"):
                return name
        return self.names[0]

    @property
    def takes_value(self) -> bool:
        """True where a value follows, always or if it is one of the choices."""
        return self.kind != SWITCH


METAVARS = {INT: "N", FLOAT: "N", TEXT: "TEXT", LIST: "TEXT", PATH: "FILE"}


def later(names: str, kind: str, help: str, *, metavar: str = "", env: str = "", off: str = "") -> Flag:
    """Return the row of a flag that a coming version serves and this one refuses."""
    dest = names.split()[-1].lstrip("-").replace("-", "_")
    return Flag(names, dest, kind, None, help, metavar=metavar, env=env, off=off, status=LATER)


def without_effect(
    names: str, kind: str, default: object, help: str, note: str = "", *, metavar: str = "", env: str = "",
    off: str = "", choices: tuple[str, ...] = (), quiet: tuple[object, ...] = (),
) -> Flag:
    """Return the row of a flag that is read and then changes nothing; `note` says why, once, unless it is empty."""
    dest = names.split()[-1].lstrip("-").replace("-", "_")
    return Flag(names, dest, kind, default, help, metavar=metavar, env=env, off=off, choices=choices,
                status=NO_EFFECT, note=note, quiet=quiet)

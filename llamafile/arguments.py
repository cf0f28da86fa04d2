"""Reads a command line by the flag table: spellings, values, bounds, environment twins, what is refused."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError
from llamafile.flags import ENVIRONMENT, SPELLINGS, TABLE, canonical
from llamafile.flags.row import CHOICE, FLOAT, INT, LATER, LIST, MAYBE, NO_EFFECT, SWITCH, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE, _FALSE = ("on", "true", "enabled", "yes", "1"), ("off", "false", "disabled", "no", "0")
_PREFIX, _NEGATED = "LLAMA_ARG_", "LLAMA_ARG_NO_"


class Options:
    """The values of all flags by destination, with `given`: the destinations somebody set, and `notices` to print."""

    def __init__(self) -> None:
        self.given: set[str] = set()
        self.notices: list[str] = []
        for flag in TABLE:
            self.__dict__.setdefault(flag.dest, flag.default)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def read(words: list[str], of_file: set[int] | frozenset[int] = frozenset(), environment: Any = None) -> Options:
    """Return the options that the environment and then the words ask for; a later flag wins over an earlier one.

    `of_file` holds the indices of words that come from `.args`, so that a message can say so. Raises LlamafileError
    for an unknown flag, a missing or bad value, and a flag that this version does not serve.
    """
    reader = _Reader(words, of_file)
    reader.read_environment(os.environ if environment is None else environment)
    reader.read_words()
    reader.settle()
    return reader.options


class _Reader:
    def __init__(self, words: list[str], of_file: set[int] | frozenset[int]) -> None:
        self.words, self.of_file = words, of_file
        self.at = 0
        self.options = Options()
        self.notes: dict[str, list[str]] = {}

    def read_environment(self, environment: Any) -> None:
        for key in environment:
            if not key.startswith("LLAMA_"):
                continue
            flag, value = ENVIRONMENT.get(key), environment[key]
            if flag is not None:
                on = _boolean(value) if flag.kind == SWITCH else True
                if on is None:
                    raise LlamafileError(f"{key}={value}: is neither on nor off; set it to 1 or 0")
                self.take(flag, key, value, on)
            elif key.startswith(_NEGATED):
                flag = ENVIRONMENT.get(_PREFIX + key[len(_NEGATED) :])
                if flag is not None and flag.off:
                    self.take(flag, key, "", False)

    def read_words(self) -> None:
        while self.at < len(self.words):
            index, word = self.at, self.words[self.at]
            self.at += 1
            spelled, glued, value = word, "", None
            found = SPELLINGS.get(canonical(word))
            if found is None and word.startswith("-"):
                spelled, glued, value = word.partition("=")
                found = SPELLINGS.get(canonical(spelled))
            shown = spelled + " (from .args)" if index in self.of_file else spelled
            if found is None:
                raise LlamafileError(unknown(word, index in self.of_file))
            flag, on = found
            if flag.status == LATER and on:
                raise LlamafileError(_later(shown, index in self.of_file))
            if not glued:
                value = self.following(flag, shown)
            elif flag.kind == SWITCH:
                said = _boolean(value or "")
                if said is None:
                    raise LlamafileError(f"{shown}: takes no value, or on or off; {value!r} is neither")
                on = on is said
            self.take(flag, shown, value, on)

    def following(self, flag: Flag, shown: str) -> str | None:
        """Return the word after the flag where the flag takes one."""
        if flag.kind == SWITCH:
            return None
        upcoming = self.words[self.at] if self.at < len(self.words) else None
        if flag.kind == MAYBE and (upcoming is None or upcoming.startswith("-")):
            return None
        if upcoming is None:
            raise LlamafileError(f"{shown}: needs a value; write {shown.split()[0]} {flag.metavar or 'VALUE'}")
        self.at += 1
        return upcoming

    def take(self, flag: Flag, shown: str, value: str | None, on: bool) -> None:
        """Store one flag's value, replacing what it replaces, and note what has no effect."""
        options = self.options.__dict__
        if flag.status == LATER:
            if on:
                raise LlamafileError(_later(shown, False))
            return
        held = self.value(flag, shown, value, on)
        if flag.kind == LIST:
            held = (*(options[flag.dest] if flag.dest in self.options.given else ()), held)
        options[flag.dest] = held
        self.options.given.add(flag.dest)
        for dest in flag.replaces:
            self.options.given.discard(dest)
            options[dest] = _DEFAULTS[dest]
        if flag.status == NO_EFFECT and flag.note and held not in flag.quiet and held != flag.default:
            names = self.notes.setdefault(flag.note, [])
            if shown not in names:
                names.append(shown)

    def value(self, flag: Flag, shown: str, value: str | None, on: bool) -> object:
        """Return a value in the flag's own type, or raise a line that says what it takes."""
        if flag.kind == SWITCH:
            return on
        if value is None:
            return "on" if "on" in flag.choices else flag.choices[0]
        if flag.kind == INT or flag.kind == FLOAT:
            return _number(flag, shown, value)
        if flag.kind == CHOICE or flag.kind == MAYBE:
            lowered = value.lower()
            if lowered not in flag.choices + flag.unlisted:
                raise LlamafileError(f"{shown}: {value!r} is not one of {', '.join(flag.choices)}")
            if lowered in flag.refused:
                raise LlamafileError(f"{shown} {value}: not in this version yet; remove it and the CPU runs the model")
            return lowered
        if "\0" in value and flag.kind != LIST:
            raise LlamafileError(f"{shown}: holds a NUL character; remove it")
        return value

    def settle(self) -> None:
        """Turn older spellings of a wish into the newer ones, and the notes into lines."""
        options = self.options
        if options.load_mode != "auto":
            options.mlock = "mlock" in options.load_mode
            options.mmap = options.load_mode not in ("none", "dio")
        if options.rope_scale is not None:
            options.rope_freq_scale = 1.0 / options.rope_scale
        for note, names in self.notes.items():
            verb = "has" if len(names) == 1 else "have"
            options.notices.append(f"{', '.join(names)}: {verb} no effect; {note}")


_DEFAULTS = {flag.dest: flag.default for flag in TABLE}


def _boolean(text: str) -> bool | None:
    lowered = text.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def _number(flag: Flag, shown: str, text: str) -> float:
    for word, number in flag.words:
        if text.lower() == word:
            return number
    try:
        held: float = int(text) if flag.kind == INT else float(text)
    except ValueError:
        kind = "a whole number" if flag.kind == INT else "a number"
        names = "".join(f" or {word}" for word, _ in flag.words)
        raise LlamafileError(f"{shown}: {text!r} is not {kind}{names}") from None
    if not flag.low <= held <= flag.high:  # also catches NaN
        raise LlamafileError(f"{shown}: {text} is not between {flag.low:.10g} and {flag.high:.10g}")
    return held


def _later(shown: str, from_file: bool) -> str:
    if shown.startswith("LLAMA_"):
        return f"{shown}: not in this version yet; unset it"
    return f"{shown}: not in this version yet; remove it" + (" with zipalign and a new .args" if from_file else "")


def unknown(word: str, from_file: bool = False) -> str:
    """Return the line about a word that is no flag, with the flag it comes nearest to."""
    shown = f"{word} (from .args)" if from_file else word
    if not word.startswith("-") or word == "-":
        return f"{shown!r}: is no flag; a model is given by -m, a prompt by -p"
    from difflib import get_close_matches

    name = canonical(word.partition("=")[0])
    near = get_close_matches(name, SPELLINGS, n=1, cutoff=0.6)
    return f"{shown}: no such flag; " + (f"did you mean {near[0]}?" if near else "--help lists them")

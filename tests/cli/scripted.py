"""A model that says what a test wants it to say, byte by byte or in pieces, behind the real command line runner."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llamafile.arguments import read
from llamafile.cli.completion import Completion
from llamafile.cli.conversation import Conversation
from llamafile.cli.interrupt import Interrupt
from llamafile.cli.output import Output
from llamafile.cli.texts import Texts, is_conversation
from llamafile.cli.timeline import Timeline

BOS, EOG, MARK = 256, 257, 258
END = object()  # in a script: the model ends its answer


class Tokenizer:
    """256 bytes, a beginning, an end, a control token <mark>, and the pieces a script adds."""

    def __init__(self) -> None:
        self.bos, self.eos, self.eog, self.add_bos = BOS, EOG, frozenset([EOG]), True
        self.pieces = [bytes([i]) for i in range(256)] + [b"<s>", b"</s>", b"<mark>"]

    @property
    def n_vocab(self) -> int:
        return len(self.pieces)

    def encode(self, text, *, add_special=True, parse_special=True):
        ids = [BOS] if add_special and self.add_bos else []
        while text:
            special = next((i for i in (BOS, EOG, MARK) if parse_special and text.startswith(self.pieces[i])), None)
            ids.append(text[0] if special is None else special)
            text = text[1 if special is None else len(self.pieces[special]) :]
        return ids

    def is_control(self, token):
        return token in (BOS, EOG, MARK)

    def piece(self, token, special=False):
        return b"" if self.is_control(token) and not special else self.pieces[token]

    def detokenize(self, ids, *, special=False, start=True):
        return b"".join(self.piece(token, special) for token in ids)

    def token(self, piece: bytes) -> int:
        """The id of a piece, which is added where it is new."""
        if piece not in self.pieces:
            self.pieces.append(piece)
        return self.pieces.index(piece)


class Session:
    """Keeps tokens, and counts how many were evaluated."""

    def __init__(self, n_ctx: int) -> None:
        self.n_ctx, self.tokens, self.logits = n_ctx, [], None
        self.evaluated, self.shifts, self.saved = 0, [], []
        self.stored: list[int] = []

    def sync(self, ids):
        same = 0
        while same < min(len(ids) - 1, len(self.tokens)) and ids[same] == self.tokens[same]:
            same += 1
        del self.tokens[same:]
        self.append(ids[same:])

    def append(self, ids):
        assert len(self.tokens) + len(ids) <= self.n_ctx
        self.tokens += ids
        self.evaluated += len(ids)

    def shift(self, keep, discard):
        assert 0 < discard <= len(self.tokens) - keep
        self.shifts.append((keep, discard))
        del self.tokens[keep : keep + discard]

    def save(self, path):
        self.saved.append(list(self.tokens))
        with open(path, "wb") as file:
            file.write(b"state")

    def load(self, path):
        self.tokens = list(self.stored)


class Sampler:
    """Gives the script's tokens one by one; a callable in the script is called first."""

    def __init__(self, script: list, tokenizer: Tokenizer) -> None:
        self.script, self.tokenizer, self.accepted = list(script), tokenizer, []

    def accept_all(self, ids):
        self.accepted += ids

    def sample(self, logits):
        while self.script and callable(self.script[0]):
            self.script.pop(0)()
        if not self.script:
            return EOG
        item = self.script.pop(0)
        return EOG if item is END else self.tokenizer.token(item)


class File:
    """As much of a GGUF as a conversation looks at."""

    label = "model.gguf"

    def __init__(self, template: str | None) -> None:
        self.template = template

    def text(self, key, default):
        return self.template


class Model:
    """A tokenizer and a file."""

    def __init__(self, template: str | None) -> None:
        self.tokenizer, self.file = Tokenizer(), File(template)

    def let_go(self) -> None:
        """There are no pages to let go of."""


class Run:
    """What came of a run: exit status, session, sampler."""

    def __init__(self, line: str, script: list, n_ctx: int = 4096, template: str | None = None,
                 stored: list[int] | None = None) -> None:
        self.options = read(shlex.split(line), environment={})
        self.output = Output(self.options)
        model = Model(template)
        self.session, self.sampler = Session(n_ctx), Sampler(script, model.tokenizer)
        self.session.stored = stored or []
        self.timeline = Timeline(self.options, model, self.session, self.sampler, self.output, 0.0)
        kind: Callable = Conversation if is_conversation(self.options) else Completion
        self.status = kind(self.options, Texts(self.options), self.timeline, self.output, Interrupt()).run()

    @property
    def context(self) -> bytes:
        """The text of all tokens that the model has seen or will see."""
        return b"".join(self.timeline.tokenizer.piece(token, True) for token in self.timeline.tokens)


def letters(text: str) -> list[bytes]:
    """A script that says a text one byte a token."""
    return [bytes([byte]) for byte in text.encode()]


@contextmanager
def typing(text: str) -> Iterator[None]:
    """Put a text and its end on the standard input."""
    before, (there, here) = os.dup(0), os.pipe()
    os.write(here, text.encode())
    os.close(here)
    os.dup2(there, 0)
    os.close(there)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)

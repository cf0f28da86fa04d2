"""Takes apart an answer of messages on channels, as gpt-oss writes it: thoughts, what is said, calls."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .deltas import Deltas
    from .incoming import Incoming, Steps
    from .reader import Reader

MESSAGE = "<|message|>"
HEADERS = ("<|start|>", "<|channel|>", "to=", MESSAGE)  # with which a header begins
ENDS = ("<|end|>", "<|call|>", "<|return|>")
HEADER_LIMIT = 1024
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_TO = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")


class Channels:
    """Reads messages, each a header (channel, whom it is for), a mark, and a text up to the next mark."""

    def __init__(self, source: Incoming, deltas: Deltas, reader: Reader | None) -> None:
        """`reader` reads the arguments of calls; without one, calls are content."""
        self.source, self.deltas, self.reader = source, deltas, reader

    def read(self) -> Steps:
        """Read all messages of the answer."""
        source = self.source
        while not (yield from source.at_end()):
            start = source.at
            headed = yield from source.tried(self._header)
            header = source.text[start : source.at] if headed else ""
            channel, to = _CHANNEL.search(header), _TO.search(header)
            if to is not None and (yield from self._call(to[1])):
                continue
            yield from self._text(channel is not None and channel[1] == "analysis")
            if source.at == start:
                self.deltas.say(source.taken(1))
        self.deltas.flush()

    def _header(self) -> Steps:
        """Step over what precedes a message's text; return False where no header begins here, or it does not end."""
        source = self.source
        begins = False
        yield from source.blank()
        for mark in HEADERS:
            begins = begins or (yield from source.sees(mark))
        while begins:
            upto = source.text.find(MESSAGE, source.at)
            if upto >= 0:
                source.at = upto + len(MESSAGE)
                return True
            if source.ended or len(source.text) - source.at > HEADER_LIMIT:
                return False
            yield
        return False

    def _call(self, name: str) -> Steps:
        """Read a call's arguments, and nothing up to the mark that ends the message."""
        reader, source = self.reader, self.source
        if reader is None or name not in reader.tools or (self.deltas.calls and not reader.several):
            return False
        if not (yield from source.tried(lambda: reader.arguments(name))):
            return False
        yield from source.blank()
        yield from source.over(ENDS[1])
        return True

    def _text(self, thought: bool) -> Steps:
        """Tell of a message's text and step over the mark that ends it."""
        source, tell = self.source, self.deltas.think if thought else self.deltas.say
        while not (yield from source.at_end()):
            upto = min(map(source.known_upto, (*ENDS, *HEADERS[:2])))
            tell(source.taken(upto - source.at))
            for mark in ENDS:
                if (yield from source.over(mark)):
                    return
            for mark in HEADERS[:2]:
                if (yield from source.sees(mark)):
                    return
            if not (yield from source.at_end()) and source.at == upto:
                tell(source.taken(1))

"""Lets the model write until it ends, a reverse prompt comes, the limit is reached, or somebody presses Ctrl-C."""

from __future__ import annotations

from llamafile import times
from llamafile.chat.harmless import seen
from llamafile.cli.timeline import Full, Timeline
from llamafile.tokens import StreamDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.interrupt import Interrupt
    from llamafile.cli.output import Output
    from llamafile.cli.stops import Stops

# Why an answer ended.
ENDED, STOPPED, LIMIT, INTERRUPTED, FULL = "ended", "stopped", "limit", "interrupted", "full"


class Answer:
    """One answer: `text` is what was shown, `reason` why it ended."""

    def __init__(self, options: Options, timeline: Timeline, output: Output, stops: Stops,
                 interrupt: Interrupt) -> None:
        self.options, self.timeline, self.output = options, timeline, output
        self.stops, self.interrupt = stops, interrupt
        self.text = ""
        self.reason = ""
        self._stream = StreamDecoder(timeline.tokenizer, options.special)

    def write(self) -> str:
        """Write tokens until there is a reason to stop, and return it."""
        self.interrupt.begin()
        try:
            self.reason = self._write()
        except Full:
            self.reason = FULL
        finally:
            self.interrupt.end()
        self._show(self._stream.flush())
        if self.reason == FULL:
            self.output.note(f"context: its {self.timeline.n_ctx} tokens are full; the answer ends here")
        return self.reason

    def _write(self) -> str:
        limit, written, every = self.options.n_predict, 0, self.options.print_token_count
        self.timeline.begin_answer()
        while limit < 0 or written < limit:
            if self.interrupt.asked:
                return INTERRUPTED
            if self.timeline.complete:
                return ENDED
            token = self.timeline.next()
            if self._ends(token):
                return ENDED
            written += 1
            if every > 0 and written % every == 0:
                self.output.note(f"{written} tokens")
            if self._take(token):
                return STOPPED
        return LIMIT

    def _ends(self, token: int) -> bool:
        return token in self.timeline.tokenizer.eog and not self.options.ignore_eos

    def _take(self, token: int) -> bool:
        """Feed a token back and show its text; True where a reverse prompt ends in it, and then only up to there."""
        tokenizer = self.timeline.tokenizer
        piece = tokenizer.piece(token, True)
        cut = self.stops.feed(piece)
        if 0 <= cut < len(piece) and not tokenizer.is_control(token):
            self._take_part(token, piece[:cut])
            return True
        self.timeline.feed([token])
        self._show(self._stream.push(token))
        return cut >= 0

    def _take_part(self, token: int, part: bytes) -> None:
        """Feed back and show only the beginning of a token, if the vocabulary can say it without a space of its own."""
        timeline = self.timeline
        ids = timeline.encode(part, special=False)
        timeline.feed(ids if timeline.tokenizer.detokenize(ids, start=False) == part else [token])
        self._show(self._stream.flush() + part.decode("utf-8", "replace"))

    def _show(self, text: str) -> None:
        self.text += text
        shown = seen(text) if self.output.on_terminal else text  # a model's words do not control a terminal
        self.output.write(shown.encode("utf-8", "replace"))
        if text:
            times.mark("token")

"""Plain text goes on from plain text: one answer to a prompt, or turns that alternate with what is typed."""

from __future__ import annotations

from llamafile import times
from llamafile.cli import prompt_file
from llamafile.cli.answer import ENDED, INTERRUPTED, Answer
from llamafile.cli.output import INPUT, PROMPT
from llamafile.cli.stops import Stops
from llamafile.cli.typed import Typed
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.interrupt import Interrupt
    from llamafile.cli.output import Output
    from llamafile.cli.texts import Texts
    from llamafile.cli.timeline import Timeline

DONE, CTRL_C = 0, 130


class Completion:
    """A prompt and what follows; `run` returns the exit status."""

    def __init__(self, options: Options, texts: Texts, timeline: Timeline, output: Output,
                 interrupt: Interrupt) -> None:
        self.options, self.texts, self.timeline = options, texts, timeline
        self.output, self.interrupt = output, interrupt
        self.stops = Stops(texts.reverse_prompts)
        # A prefix or suffix takes the chat template's place; the first turn is then the user's.
        chatty = bool(options.conversation or options.instruct or options.chatml)
        self.interactive = bool(options.interactive or options.interactive_first or chatty)
        self.mine_first = bool(options.interactive_first or chatty)
        if self.interactive:
            interrupt.listen()
        self.cache = prompt_file.PromptFile(options, timeline)
        self.held = self.cache.open()

    def run(self) -> int:
        """Write the prompt and the answer, or take turns until the input ends."""
        prompt = self.texts.prompt
        if prompt is None and not self.interactive and self.options.prompt_cache is None:
            raise LlamafileError("prompt: there is none; give one with -p or -f, or type with -i")
        ids = self._ids(prompt or b"")
        self.timeline.need_room(ids)  # before the prompt is on the terminal
        if self.options.verbose_prompt:
            self._list(ids)
        if self.options.display_prompt:
            self.output.write(prompt or b"", PROMPT)
        self.timeline.begin(ids)
        times.mark("prompt")
        self.cache.keep_prompt()
        status = self._take_turns(prompt or b"") if self.interactive else self._answer_once()
        self.output.end_line()
        self.cache.keep_all()
        return status

    def _ids(self, prompt: bytes) -> list[int]:
        """Return the prompt's ids; without a prompt those of the prompt cache, else the begin-of-text token."""
        if self.texts.prompt is None and self.held:
            return self.held
        ids = self.timeline.encode(prompt, first=True)
        if not ids and not self.mine_first:
            raise LlamafileError("prompt: is empty, and this model does not begin texts with a token; give some text")
        return ids

    def _list(self, ids: list[int]) -> None:
        """Name the prompt's tokens on the standard error stream."""
        for token in ids:
            piece = self.timeline.tokenizer.piece(token, True).decode("utf-8", "backslashreplace")
            self.output.note(f"{token:6d} {piece!r}")

    def _answer(self) -> str:
        return Answer(self.options, self.timeline, self.output, self.stops, self.interrupt).write()

    def _answer_once(self) -> int:
        return CTRL_C if self._answer() == INTERRUPTED else DONE

    def _take_turns(self, prompt: bytes) -> int:
        typed = Typed(self.options.multiline_input, self.interrupt.read)
        if not (self.mine_first or self.stops.ends(prompt)):
            self._let_model_write()
        while True:
            line = self._typed_turn(typed)
            if line is None:
                return DONE
            self.timeline.feed(line)
            self.stops.clear()
            self._let_model_write()

    def _let_model_write(self) -> None:
        """Write one answer; where the model ended by itself, go on as the first reverse prompt says."""
        reason = self._answer()
        if reason == ENDED:
            self.output.end_line()
            if self.stops.texts:
                self.timeline.feed(self.timeline.encode(self.stops.texts[0]))
                self.output.write(self.stops.texts[0])
        elif reason == INTERRUPTED:
            self.output.end_line()

    def _typed_turn(self, typed: Typed) -> list[int] | None:
        """Read a turn between prefix and suffix; return its ids, or None at the end of the input."""
        texts, timeline = self.texts, self.timeline
        self.output.write(texts.in_prefix)
        self.output.paint(INPUT)
        line = typed.turn()
        if line is None:
            return None
        if self.output.typed_on_terminal:
            self.output.at_line_start = True  # the terminal has echoed the newline
        self.output.write(texts.in_suffix)
        bos = timeline.tokenizer.bos
        ids = [bos] if self.options.in_prefix_bos and bos is not None else []
        ids += timeline.encode(texts.in_prefix) + timeline.encode(texts.line(line), special=False)
        return ids + timeline.encode(texts.in_suffix)

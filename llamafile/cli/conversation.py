"""-cnv: a conversation by the model's chat template, the whole of it kept as text and only what is new evaluated."""

from __future__ import annotations

from llamafile import chat_template, sandbox
from llamafile.cli import prompt_file, texts
from llamafile.cli.answer import INTERRUPTED, Answer
from llamafile.cli.output import INPUT
from llamafile.cli.stops import Stops
from llamafile.cli.typed import Typed
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.interrupt import Interrupt
    from llamafile.cli.output import Output
    from llamafile.cli.timeline import Timeline

DONE, CTRL_C = 0, 130
MARK = b"> "
ROOM_FOR_ANSWER = 4  # a conversation is cut so that at least 1/4 of the context is left to answer in


class Conversation:
    """Turns through a chat template; `run` returns the exit status."""

    def __init__(self, options: Options, given: texts.Texts, timeline: Timeline, output: Output,
                 interrupt: Interrupt) -> None:
        self.options, self.timeline, self.output, self.interrupt = options, timeline, output, interrupt
        self.given = given
        self.stops = Stops(given.reverse_prompts)
        file = timeline.model.file
        own = file.text("tokenizer.chat_template", None)
        self.template = chat_template.text_of(texts.template_choice(options), own, file.label)
        self.variables = texts.template_variables(options)
        output.detail(f"chat template {self.template!r}")
        tokenizer = timeline.tokenizer
        self.bos, self.eos = ("" if token is None else _text(tokenizer.piece(token, True))
                              for token in (tokenizer.bos, tokenizer.eos))
        system, self.opening = self._system_and_opening()
        self.messages = [{"role": "system", "content": system}] if system else []
        self.written = ""  # the conversation as text that the timeline holds
        self.cache = prompt_file.PromptFile(options, timeline)
        self.cache.open()
        interrupt.listen()
        sandbox.preload("cli", *chat_template.late(self.template))

    def _system_and_opening(self) -> tuple[str, str | None]:
        """-p is the system prompt, unless -sys gives one or there is only one turn: then it is the first turn."""
        prompt, system = self.given.prompt, self.given.system
        if system is not None or self.options.single_turn:
            return _text(system or b""), None if prompt is None else _text(prompt)
        return _text(prompt or b""), None

    def run(self) -> int:
        """Take turns until the input ends."""
        typed, opening = Typed(self.options.multiline_input, self.interrupt.read), self.opening
        status = DONE
        while True:
            line = self._typed_turn(typed) if opening is None else opening
            opening = None
            if line is None:
                break
            before = list(self.messages)
            try:
                reason = self._exchange(line)
            except LlamafileError as wrong:
                if self.options.single_turn:
                    raise
                self._take_back(before, wrong)
                continue
            if self.options.single_turn:
                status = CTRL_C if reason == INTERRUPTED else DONE
                break
        self.cache.keep_all()
        return status

    def _exchange(self, line: str) -> str:
        """Hand one turn to the model and write its answer; return why it ended."""
        self.interrupt.begin()
        self.messages.append({"role": "user", "content": line})
        self._hand_over()
        self.cache.keep_prompt()
        answer = Answer(self.options, self.timeline, self.output, self.stops, self.interrupt)
        reason = answer.write()
        self.output.end_line()
        self.messages.append({"role": "assistant", "content": answer.text})
        self.written += answer.text
        return reason

    def _take_back(self, messages: list[dict[str, str]], wrong: LlamafileError) -> None:
        """Forget a turn that is too long or that the template refuses, and say why; the conversation goes on."""
        self.interrupt.end()
        self.messages = messages
        self.output.end_line()
        self.output.complain(str(wrong))

    def _typed_turn(self, typed: Typed) -> str | None:
        """Ask for a turn, on a terminal with a mark; None at the end of the input."""
        if self.output.on_terminal and self.output.typed_on_terminal:
            self.output.write(MARK, INPUT)
        self.output.paint(INPUT)
        line = typed.turn()
        self.output.at_line_start = True
        self.output.paint("")
        return None if line is None else _text(self.given.line(line))

    def _hand_over(self) -> None:
        """Bring the timeline up to the last turn: all of it anew, of which only what differs is evaluated.

        Once the context has shifted, the timeline no longer begins as the text does, and what is new is added.
        """
        text = self._rendered()
        if self.timeline.shifted and text.startswith(self.written):
            self.timeline.feed(self.timeline.encode(_bytes(text[len(self.written) :])))
        else:
            most = self.timeline.n_ctx * (ROOM_FOR_ANSWER - 1) // ROOM_FOR_ANSWER
            while len(self._ids(text)) > most and self._forget_oldest():
                text = self._rendered()
            self.timeline.begin(self._ids(text))
            self.timeline.shifted = False
        if self.options.verbose_prompt:
            self.output.note(f"prompt: {text!r}")
        self.written = text

    def _forget_oldest(self) -> bool:
        """Drop the oldest turn and its answer, never the system prompt nor the last turn; False where none is left."""
        first = 1 if self.messages and self.messages[0]["role"] == "system" else 0
        if len(self.messages) - first < 3:
            return False
        del self.messages[first : first + 2]
        return True

    def _rendered(self) -> str:
        return chat_template.render(self.template, self.messages, bos=self.bos, eos=self.eos, extra=self.variables)

    def _ids(self, text: str) -> list[int]:
        """Return the ids of the whole conversation; a template may write the begin-of-text token itself."""
        own_start = bool(self.bos) and text.startswith(self.bos)
        ids = self.timeline.encode(_bytes(text), first=not own_start)
        if not ids:
            raise LlamafileError("chat template: writes nothing; choose another with --chat-template")
        return ids


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

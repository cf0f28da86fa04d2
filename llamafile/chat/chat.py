"""The chat itself: takes turns between what is typed, the commands and the model."""

from __future__ import annotations

from llamafile.chat import commands, files, report
from llamafile.chat.answer import Answer
from llamafile.chat.dialogue import ASSISTANT, ROLES, USER, Dialogue
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.chat.interrupt import Interrupt
    from llamafile.chat.loading import Engine, Loading
    from llamafile.chat.screen import Screen
    from llamafile.chat.wording import Wording
    from llamafile.cli.texts import Texts

RANDOM = (-1, 0xFFFFFFFF)
TICK = 0.1  # seconds between two looks at whether somebody pressed Ctrl-C
LONG_PROMPT = 1000  # tokens from which it is shown how far it was read


class Chat:
    """`dialogue` is what was said, `role` whose turn /manual makes it, `tally` what the answers took."""

    def __init__(self, options: Options, given: Texts, screen: Screen, loading: Loading, interrupt: Interrupt) -> None:
        self.options, self.given, self.screen = options, given, screen
        self.loading, self.interrupt = loading, interrupt
        self.dialogue = Dialogue((_text(given.system) if given.system is not None else _text(given.prompt)) or "")
        self.tally = report.Tally()
        self.manual, self.role = False, USER
        self._slot = -1  # where the last answer was written
        self._again = 0  # how often answers were asked for anew: each takes another seed

    @property
    def engine(self) -> Engine:
        """The loaded model behind its scheduler; waits for it."""
        return self.loading.wait()

    @property
    def wording(self) -> Wording:
        """The model's way to write a conversation; waits for it."""
        return self.engine.wording

    def need_engine(self) -> None:
        """Wait until the model is loaded, and say that it is waited for; raises what the loading ran into."""
        if self.loading.done_within(0):
            self.loading.wait()
            return
        self.interrupt.during(bool)
        try:
            with self.screen.waiting("loading the model"):
                while not self.loading.done_within(TICK):
                    if self.interrupt.stopped:
                        raise LlamafileError("stopped; the model is still being loaded")
        finally:
            self.interrupt.after()
        self.loading.wait()

    def take_turn(self, text: str) -> bool:
        """Do what a typed turn asks for: a command, or something said. False where the user wants to go."""
        try:
            if commands.is_command(text):
                commands.run(self, text)
            elif self.manual:
                self._write_as_role(text)
            elif text.strip():
                self.say(text)
        except commands.Leave:
            return False
        except LlamafileError as wrong:
            if self.loading.failed is wrong:
                raise
            self.screen.complain(str(wrong))
        return True

    def say(self, text: str) -> None:
        """Say something to the model and show its answer; what it refuses is taken back."""
        before = list(self.dialogue.messages)
        self.dialogue.add(USER, text)
        done = False
        try:
            done = self.answer()
        finally:
            if not done:
                self.dialogue.messages = before

    def _write_as_role(self, text: str) -> None:
        if not text.strip():
            self.role = ROLES[(ROLES.index(self.role) + 1) % len(ROLES)]
        else:
            self.dialogue.add(self.role, text)

    def answer(self, again: bool = False) -> bool:
        """Let the model answer what stands there; False where it came to nothing, which the screen was told."""
        self.need_engine()
        engine = self.engine
        text, ids, forgotten = engine.wording.fit(self.dialogue, engine.n_ctx)
        if forgotten:
            self.screen.note(f"the context was full: the oldest {forgotten} messages are forgotten")
        self._again += again
        answer = Answer(text)
        with self.screen.answer() as paper:
            answer.receive(engine.scheduler, self._request(engine, text, ids), self.interrupt, paper)
        result = answer.result
        self._slot = result.id_slot
        if answer.text or answer.thoughts or not self.interrupt.stopped:
            self.dialogue.add(ASSISTANT, answer.text, reasoning_content=answer.thoughts)
        self.tally.add(result.timings, result.tokens_evaluated + result.tokens_predicted)
        if self.interrupt.stopped:
            self.screen.note("stopped")
        elif result.truncated and result.stop_type == "limit":
            self.screen.note(f"the context of {engine.n_ctx:,} tokens is full; the answer ends here")
        elif result.truncated:
            self.screen.note("the context was full: the model forgot the oldest half of it while it wrote")
        return bool(answer.text or answer.thoughts or not self.interrupt.stopped)

    def _request(self, engine: Engine, text: str, ids: list[int]) -> object:
        from llamafile.cli.engine import parameters
        from llamafile.serving import Request

        options, params = self.options, parameters(self.options)
        if params.seed not in RANDOM:
            params.seed = (params.seed + self._again) % 0xFFFFFFFF
        stop = tuple(text.decode("utf-8", "replace") for text in self.given.reverse_prompts)
        shift = bool(options.context_shift) and options.n_predict != -2
        return Request(ids, params, n_predict=options.n_predict, stop=stop, n_keep=self._keep(engine, ids),
                       context_shift=shift, special=options.special,
                       constraint=engine.wording.within(engine.grammar, text),
                       return_progress=len(ids) > LONG_PROMPT)

    def _keep(self, engine: Engine, ids: list[int]) -> int:
        """How many tokens a full context keeps: what --keep says, else those of the system prompt."""
        if "n_keep" in self.options.given:
            return int(self.options.n_keep)
        if not self.dialogue.system or engine.wording.plain:
            return 0
        try:
            system = engine.wording.ids(engine.wording.text(self.dialogue.messages[:1], answer=False))
        except LlamafileError:
            return 0  # a template that writes the system prompt into the first turn
        same = next((at for at, (a, b) in enumerate(zip(system, ids, strict=False)) if a != b), len(system))
        return min(same, engine.n_ctx // 2)

    def show_last(self) -> None:
        """Show the last exchange of a conversation that was loaded."""
        for message in self.dialogue.messages[-2:]:
            self.screen.message(message["role"], message["content"])

    def save_cache(self, name: str) -> int:
        """Write the cells of the last answer's slot to a file; return how many tokens they are."""
        if self._slot < 0:
            raise LlamafileError("/save: there is nothing in the cache yet; let the model answer first")
        try:
            with files.replacing(name) as file:
                return int(self.engine.scheduler.save(self._slot, file)["n_saved"])
        except OSError as problem:
            raise LlamafileError(f"{name}: cannot be written: {problem.strerror}; choose another name") from None

    def load_cache(self, name: str) -> None:
        """Read cells from a file, where there is one; one of another model is left alone, which is told."""
        self.need_engine()
        try:
            file = files.reading(name)
        except LlamafileError:
            return
        try:
            with file:
                count = self.engine.scheduler.load(max(0, self._slot), file)["n_restored"]
        except LlamafileError as wrong:
            self.screen.complain(f"{name}: {wrong}")
        else:
            self.screen.note(f"{name}: {count:,} tokens of its cache loaded")


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")

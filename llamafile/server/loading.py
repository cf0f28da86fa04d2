"""Opens the model and starts the scheduler in a thread of its own, while the web framework is being imported."""

from __future__ import annotations

import sys
import threading
import time

from llamafile import times
from llamafile.server.files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.server.settings import Settings


class Served:
    """What the endpoints share: the model and its scheduler, once `ready`, and how the flags want them served."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self.options, self.settings = options, settings
        self.created = int(time.time())
        self.ready = self.draining = False
        self.problem: BaseException | None = None
        self.model: Any = None
        self.scheduler: Any = None
        self.defaults: dict[str, Any] = {}  # fields of a request that it need not say
        self.wishes: Any = None  # what is guessed ahead
        self.rule: Any = None  # the grammar that answers follow which are asked for without one
        self.own_template = ""
        self.template_variables: dict[str, Any] = {}
        self.files = Files(settings)
        self.thread = threading.Thread(target=self._load, name="load")

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.model.tokenizer

    @property
    def name(self) -> str:
        """The model's name for clients: the first alias, else the file's."""
        names = self.settings.names
        return names[0] if names else self.model.file.label.rpartition("/")[2]

    def written(self, token: int | None) -> str:
        """Return a token's text, '' for None."""
        return "" if token is None else self.tokenizer.piece(token, True).decode("utf-8", "replace")

    @property
    def template(self) -> str:
        """The chat template's text; raises Refused 501 where the model has none."""
        from llamafile.server import errors

        if not self.own_template:
            raise errors.unsupported("This model has no chat template; give one with --chat-template")
        return self.own_template

    def note(self, line: str) -> None:
        """Tell the person at the terminal, unless that is not wanted."""
        if self.options.log:
            sys.stderr.write(f"llamafile: {line}\n")
            sys.stderr.flush()

    def _load(self) -> None:
        try:
            self._open()
        except BaseException as problem:
            self.problem = problem

    def _open(self) -> None:
        from llamafile.cli import constraint, engine, texts
        from llamafile.serving import Scheduler, Settings
        from llamafile.speculation import wishes

        options = self.options
        parameters = engine.parameters(options)
        parameters.check()
        self.model = engine.open_model_of(options, self.note)
        self.wishes = wishes.of(options, self.model)
        if wishes.wants_draft(options):
            from llamafile.cli import draft

            n_ctx = engine.context_of(options, self.model.n_ctx_train)
            slots = Settings(n_parallel=options.n_parallel).n_parallel
            self.wishes.draft = draft.open_of(options, self.model, n_ctx, slots, self.note)
        self.scheduler = Scheduler(self.model, Settings(
            n_ctx=engine.context_of(options, self.model.n_ctx_train), n_parallel=options.n_parallel,
            n_ubatch=min(options.n_batch, options.n_ubatch), kv_unified=options.kv_unified,
            cache_types=(options.cache_type_k, options.cache_type_v), cache_prompt=options.cache_prompt,
            wishes=self.wishes,
        ))  # fmt: skip
        if self.model.gpu:
            self.note(self.model.offload.description)
        if self.scheduler.warning:
            self.note(self.scheduler.warning)
        times.mark("program")
        self.defaults = {name: getattr(parameters, name) for name in type(parameters).__slots__}
        self.template_variables = texts.template_variables(options)
        self.own_template = _template(options, self.model.file)
        self.rule = constraint.of(options, self.model.tokenizer)
        self.scheduler.start()
        self.scheduler.ready.wait()
        self.model.let_go()
        times.mark("warm")

    def close(self) -> None:
        """Stop the scheduler and close the model."""
        self.thread.join()
        for thing in (self.scheduler, self.wishes and self.wishes.draft, self.model):
            if thing is not None:
                thing.close()


def _template(options: Options, file: Any) -> str:
    """Return the chat template's text, '' where there is none."""
    from llamafile import chat_template
    from llamafile.cli import texts

    own = file.text("tokenizer.chat_template", None)
    chosen = texts.template_choice(options)
    return chat_template.text_of(chosen, own, file.label) if chosen is not None or own else ""


def begin(options: Options, settings: Settings) -> Served:
    """Start to load and return at once."""
    served = Served(options, settings)
    for notice in options.notices:
        served.note(notice)
    served.thread.start()
    return served

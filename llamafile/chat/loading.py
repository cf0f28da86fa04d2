"""What the chat waits for while somebody types already: the model behind its scheduler, and how it words a chat."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.chat.wording import Wording
    from llamafile.server.loading import Served


class Engine:
    """The loaded model: `scheduler`, `wording`, `grammar` of its answers or None, `n_ctx` tokens of context."""

    def __init__(self, served: Served) -> None:
        from llamafile.chat.wording import Wording
        from llamafile.cli import constraint

        self.scheduler: Any = served.scheduler
        self.n_ctx: int = served.scheduler.n_ctx
        self.description: str = served.model.description
        self.wording: Wording = Wording(served.model, served.options)
        self.grammar: Any = constraint.of(served.options, served.model.tokenizer)


class Loading:
    """Waits for the model and what else must be there before it answers; `failed` is what `wait` has raised."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._settled = threading.Event()
        self._engine: Engine | None = None
        self.failed: BaseException | None = None

    def prepare(self) -> Engine:
        """Return the engine once the model is loaded, before anybody else gets it; raises LlamafileError."""
        self._served.thread.join()
        if self._served.problem is not None:
            raise self._served.problem
        self._engine = Engine(self._served)
        return self._engine

    def settle(self, problem: BaseException | None = None) -> None:
        """Let go those who wait: all is ready, or there is a problem."""
        self.failed = problem
        self._settled.set()

    def done_within(self, seconds: float) -> bool:
        """Wait so long at most; return whether nothing is waited for any more."""
        return self._settled.wait(seconds)

    def wait(self) -> Engine:
        """Return the engine as soon as it is there; raises LlamafileError where the model cannot be had."""
        self._settled.wait()
        if self.failed is not None:
            raise self.failed
        assert self._engine is not None
        return self._engine

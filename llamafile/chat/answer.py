"""One answer: hands a request to the scheduler and passes on what comes back, until its end or Ctrl-C."""

from __future__ import annotations

from queue import SimpleQueue

from llamafile.chat.thoughts import ANSWER, Thoughts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.chat.interrupt import Interrupt
    from llamafile.chat.screen import Paper


class Answer:
    """`text` and `thoughts` as they were shown, and `result` the scheduler's Result, after `receive`."""

    def __init__(self, prompt: str) -> None:
        """Take the text that the model goes on from."""
        self.text = self.thoughts = ""
        self.result: Any = None
        self._split = Thoughts(prompt)
        self._items: SimpleQueue[Any] = SimpleQueue()  # may be put to from a signal handler, too

    def receive(self, scheduler: Any, request: Any, interrupt: Interrupt, paper: Paper) -> None:
        """Submit the request and write its pieces on the paper; raises LlamafileError for one that is refused.

        Ctrl-C cancels it: what was written until then stands, and its end is marked as if the model had ended it.
        """
        ticket = scheduler.submit(request, self._items.put)
        interrupt.during(ticket.cancel)
        try:
            while self.result is None:
                self._take(self._items.get(), paper)
        except BaseException:
            ticket.cancel()  # the reader of the output has left
            raise
        finally:
            interrupt.after()

    def _take(self, item: Any, paper: Paper) -> None:
        if isinstance(item, Exception):
            raise item
        last = hasattr(item, "stop_type")
        if not last and item.progress:
            paper.progress(item.progress["processed"], item.progress["total"])
        parts = self._split.feed(item.rest if last else item.text)
        for kind, text in [*parts, *(self._split.flush() if last else ())]:
            if kind == ANSWER:
                self.text += text
            else:
                self.thoughts += text
            paper.write(kind, text)
        if last:
            self.result = item

"""The scheduler: a queue, slots, and the one thread that runs the engine for all of them."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from llamafile.errors import LlamafileError
from llamafile.speculation.wishes import MOST
from runtime.ops import PAGE, RuntimeFault

from . import slot_file
from .ahead import Ahead
from .answer import Pieces
from .counters import Metrics
from .engine import Engine, Part
from .entrance import Entrance
from .pages import Pages
from .plan import Planner
from .replies import Replies
from .requests import Refused, Request
from .sequence import Sequence
from .settings import Settings
from .slots import Slots
from .step import Stepper


class Ticket:
    """What submit returns: `cancel()` ends the request within one step, from any thread; its Result says "cancel"."""

    def __init__(self, scheduler, sequence):
        self._scheduler, self._sequence = scheduler, sequence
        self.number = sequence.number

    def cancel(self):
        """Ask for the end; nothing happens where the answer has ended already."""
        self._sequence.cancelled = True
        self._scheduler.wake()


class Scheduler:
    """Answers requests for one Model; its methods may be called from any thread.

    `ready` is a threading.Event, set once `start` has made a real forward pass, or could not: then `problem` is the
    exception, else None, and every request is refused. `n_ctx` tokens a request may use,
    `n_slots` slots; `warning` is what to tell the user about memory, or None. `flush`, where somebody sets it, is
    called on the engine thread after a turn that delivered something: one wake-up of an event loop for all of it, at
    a moment when the engine leaves Python for long. The model is not closed with it.
    """

    def __init__(self, model, settings=None):
        """Open programs and cache; raises LlamafileError where memory is short. `start` makes the thread."""
        settings = settings or Settings()
        self.model, self.settings = model, settings
        n_ctx = settings.n_ctx or model.n_ctx_train
        self.n_slots = settings.n_parallel
        self.n_ctx = n_ctx if settings.kv_unified else max(1, n_ctx // self.n_slots)
        # A page more for each slot: pages that are begun are never full.
        n_pages = -(-n_ctx // PAGE) + self.n_slots
        wishes = settings.wishes
        guesses = MOST if wishes is not None and wishes.any else 0
        self.engine = Engine(model, settings.cache_types, self.n_ctx, n_pages, settings.n_ubatch, self.n_slots, guesses)
        self.warning = self.engine.warning
        self.tree, self.places = Pages(n_pages), Slots(self.n_slots, self.engine.n_ahead > 0)
        self.ready = threading.Event()
        self._counts = Metrics()
        pieces = Pieces(model.tokenizer)
        self._entrance = Entrance(model, settings, self.n_ctx, pieces)
        self._replies = Replies(model, pieces, self._leave)
        ahead = Ahead(self.engine, self.tree, wishes) if self.engine.n_ahead else None
        planner = Planner(self.engine, self.tree)
        self._stepper = Stepper(self.engine, self.tree, planner, self._replies, self._counts, ahead)
        self.flush = self.problem = None
        self._wake = threading.Condition()
        self._queue: deque = deque()
        self._commands: deque = deque()
        self._numbers = 0
        self._closing = None  # until when running answers may go on, once it is set
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self):
        """Start the engine thread and return at once."""
        # Coming back from a forward pass it needs Python's lock: another thread in Python gives it up after so long.
        sys.setswitchinterval(min(sys.getswitchinterval(), 0.001))
        self._thread.start()

    def submit(self, request, deliver):
        """Queue a request; deliver(item) gets its Deltas, then one Result or one Refused, on the engine thread.

        deliver must not block and should only hand the item on (loop.call_soon_threadsafe, a queue). What it raises
        cancels the request. Raises Refused: 400 for a request that cannot be served, 503 where the queue is full or
        the scheduler closes. Returns a Ticket.
        """
        sequence = self._entrance.sequence(request, deliver)
        with self._wake:
            self._check_open()
            if len(self._queue) >= self.settings.n_queue:
                raise Refused(503, "unavailable_error", f"{len(self._queue)} requests are waiting already; try later",
                              retry_after=1)
            self._numbers += 1
            sequence.number = self._numbers
            self._queue.append(sequence)
            self._wake.notify()
        return Ticket(self, sequence)

    def _check_open(self):
        if self.problem is not None:
            raise Refused(500, "server_error", f"the model does not run: {self.problem}")
        if self._closing is not None:
            raise Refused(503, "unavailable_error", "the server is closing; try another", retry_after=5)

    def slots(self):
        """What each slot does: id, id_task, n_ctx, is_processing, params, next_token, n_prompt_tokens and more."""
        return [slot.describe(self.n_ctx) for slot in self.places.all]

    def metrics(self):
        """Counters and gauges by the names of /metrics without their prefix, e.g. prompt_tokens_total."""
        return self._counts.values(len(self.places.sequences()), len(self._queue))

    def save(self, id_slot, target):
        """Write an idle slot's tokens and cells to a path or an open binary file; {id_slot, n_saved, n_written,
        save_ms}. Raises Refused(400) for a slot that is busy or does not exist, LlamafileError where writing fails."""
        return self._ask(id_slot, lambda slot: slot_file.save(slot, self.engine, self.tree, target))

    def load(self, id_slot, source):
        """Fill an idle slot from what `save` wrote, a path or an open binary file; {id_slot, n_restored, n_read,
        restore_ms}. A file of another model or cache format, or a damaged one, raises LlamafileError and changes
        nothing."""
        return self._ask(id_slot, lambda slot: slot_file.load(slot, self.engine, self.tree, source, self.n_ctx))

    def erase(self, id_slot):
        """Forget an idle slot's tokens, and their cells where no other slot has the same; {id_slot, n_erased}."""
        return self._ask(id_slot, lambda slot: self.places.erase(slot, self.tree))

    def _ask(self, id_slot, action):
        """Have the engine thread do something with an idle slot, between two steps; returns or raises what it does."""
        if not 0 <= id_slot < self.n_slots:
            raise Refused(400, "invalid_request_error", f"id_slot: there is no slot {id_slot}")
        slot, done, outcome = self.places.all[id_slot], threading.Event(), []

        def act():
            try:
                if slot.sequence is not None:
                    raise Refused(400, "invalid_request_error", f"id_slot: slot {id_slot} is busy; try again later")
                outcome.append(action(slot))
            except Exception as problem:
                outcome.append(problem)
            done.set()

        with self._wake:
            self._check_open()
            self._commands.append(act)
            self._wake.notify()
        done.wait()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def close(self, drain_seconds=0.0):
        """Refuse new requests, let those that are there go on for at most drain_seconds, cancel the rest, stop."""
        with self._wake:
            self._closing = time.monotonic() + drain_seconds
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._end()
        self.engine.close()

    def wake(self):
        """Have the engine thread look at what changed."""
        with self._wake:
            self._wake.notify()

    def _run(self):
        """The engine thread."""
        try:
            self.engine.model.pool.settle()
            self._warm_up()
        except Exception as problem:
            self.problem = problem
            self._closing = 0.0
        self.ready.set()
        while self._wait():
            self.turn()
        self._end()

    def turn(self):
        """What the thread does again and again: look for what others asked for, then take one step."""
        self._obey()
        self._sweep()
        self._admit()
        try:
            self._stepper.step(self.places.sequences())
        except Exception as problem:
            self._recover(problem)
        if self._replies.delivered and self.flush is not None:
            self._replies.delivered = False
            self.flush()

    def _end(self):
        for sequence in [*self.places.sequences(), *self._queue]:
            self._replies.finish(sequence, "cancel")
        self._queue.clear()
        self._obey()
        if self.flush is not None:
            self.flush()

    def _obey(self):
        """Do what other threads asked for."""
        while self._commands:
            self._commands.popleft()()

    def _recover(self, problem):
        """A step failed: so do those that were part of it, and nothing that it may have left half done is kept."""
        if not isinstance(problem, (LlamafileError, RuntimeFault)):
            sys.excepthook(type(problem), problem, problem.__traceback__)  # a bug: show where, and serve the others
        for sequence in self.places.sequences():
            self._replies.fail(sequence, str(problem) or type(problem).__name__)
        self.tree.clear()

    def _warm_up(self):
        """One forward pass: who waits for `ready` waits for a model that runs."""
        sequence = Sequence(Request([self.model.tokenizer.bos or 0]), None, 0, self.n_ctx)
        sequence.private = 0
        sequence.need_pages(self.tree, self.engine, 1)
        self.engine.run([Part(sequence, 1, False)])
        sequence.release(self.tree)

    def _wait(self):
        """Sleep until there is something to do; returns False where the thread is to end."""
        with self._wake:
            while not (self._commands or self._queue or self.places.sequences()):
                if self._closing is not None:
                    return False
                self._wake.wait()
            return self._closing is None or time.monotonic() < self._closing

    def _sweep(self):
        """End what was cancelled."""
        for sequence in self.places.sequences():
            if sequence.cancelled:
                self._replies.finish(sequence, "cancel")
        for sequence in [s for s in list(self._queue) if s.cancelled]:
            self._queue.remove(sequence)
            self._replies.finish(sequence, "cancel")

    def _admit(self):
        """Seat those that wait, first come first served."""
        if len(self.places.sequences()) == self.n_slots:
            return
        for sequence in list(self._queue):
            if self.places.seat(sequence):
                self._queue.remove(sequence)
                sequence.clock.started = time.perf_counter()

    def _leave(self, sequence):
        """An answer has ended: its pages stay in the tree for those who come after, its slot is free."""
        if sequence.slot is not None:
            self.places.leave(sequence)
            sequence.release(self.tree)
            sequence.active = False
        sequence.sampler = sequence.matcher = sequence.text = None

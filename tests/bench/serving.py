"""Many clients at once: tokens a second in all, times to a first token under load, the cost of scheduling, prefixes."""

from __future__ import annotations

import random
import statistics
import time

from llamafile.model import Model
from llamafile.sampling import Params
from llamafile.serving import Delta, Request, Result, Scheduler, Settings

from . import llama_server, models
from .report import ratio, rounds

CLIENTS = (1, 4, 8, 16)
PROMPT, ANSWER, LONG = 32, 64, 1024
CTX = 4096


class Client:
    """One request: when its first token and its end came."""

    def __init__(self, scheduler, request):
        self.first = self.result = None
        self.started = time.perf_counter()
        scheduler.submit(request, self.take)

    def take(self, item):
        self.first = self.first or time.perf_counter() - self.started
        if not isinstance(item, Delta):
            if not isinstance(item, Result):
                raise item
            self.result = item


class Served:
    """A scheduler driven turn by turn, with the seconds of each turn and those inside C's run of the program."""

    def __init__(self, model, clients):
        self.scheduler = Scheduler(model, Settings(n_ctx=CTX, n_parallel=clients))
        self.chance = random.Random(5)
        self.vocabulary = model.tokenizer.n_vocab
        self.inside = 0.0
        program = self.scheduler.engine._program
        run = program.run

        def timed(**letters):
            started = time.perf_counter()
            run(**letters)
            self.inside += time.perf_counter() - started

        program.run = timed

    def prompt(self, n):
        """n random tokens."""
        return [self.chance.randrange(self.vocabulary) for _ in range(n)]

    def ask(self, prompt, answer, **fields):
        """Hand in a request whose answer has exactly so many tokens."""
        return Client(self.scheduler, Request(prompt, Params(seed=7, ignore_eos=True), n_predict=answer, **fields))

    def finish(self, clients):
        """Turn until all have ended; returns (seconds, share outside the program) of each turn."""
        turns = []
        while any(client.result is None for client in clients):
            self.inside, started = 0.0, time.perf_counter()
            self.scheduler.turn()
            took = time.perf_counter() - started
            turns.append((took, 1 - self.inside / took))
        return turns

    def together(self, clients, answer):
        """(tokens a second of all clients together, median share of a turn outside the program)."""
        waiting = [self.ask(self.prompt(PROMPT), answer) for _ in range(clients)]
        while not all(client.first for client in waiting):
            self.scheduler.turn()
        done = sum(len(sequence.generated) for sequence in self.scheduler.places.sequences())
        turns = self.finish(waiting)
        speed = (clients * answer - done) / sum(took for took, _ in turns)
        return speed, statistics.median(share for _, share in turns)

    def close(self):
        """Give everything back."""
        self.scheduler.close()


def measure(report, options):
    """Report SmolLM2 served to 1, 4, 8 and 16 clients."""
    path = models.fetched(report, "smollm2")
    if path is None:
        return
    answer, clients = (8, (1, 8)) if options.quick else (ANSWER, CLIENTS)
    model = Model.open(str(path), n_threads=options.threads)
    served = {n: Served(model, n) for n in clients}
    try:
        throughput(report, options, served, answer, llama_server.speeds(options, path, clients, PROMPT, answer))
        first_token(report, served[8], answer)
        prefixes(report, served[1], 256 if options.quick else LONG)
    finally:
        for one in served.values():
            one.close()
        model.close()


def throughput(report, options, served, answer, theirs):
    """Tokens a second, and how many times one client's; the share of a turn outside the program."""
    turns = rounds(options.rounds, *(lambda n=n, one=one: one.together(n, answer) for n, one in served.items()))
    speeds = {n: [speed for speed, _ in turn] for n, turn in zip(served, turns)}
    for n, turn in zip(served, turns):
        mine, peer = statistics.median(speeds[n]), theirs.get(n)
        report.add("serving", f"SmolLM2, {n} clients", "all together", mine, "tok/s", share=ratio(speeds[n], speeds[1]),
                   of="one client", peer=peer, ratio=mine / peer if peer else None)
        report.add("serving", f"SmolLM2, {n} clients", "outside the program",
                   100 * statistics.median(share for _, share in turn), "%")


def first_token(report, served, answer):
    """A short prompt's first token while seven answers run, and while a long prompt is read beside them."""
    running = [served.ask(served.prompt(PROMPT), 4 * answer) for _ in range(6)]
    while not all(client.first for client in running):
        served.scheduler.turn()
    short = served.ask(served.prompt(PROMPT), 1)
    served.finish([short])
    report.add("serving", "SmolLM2, beside 6 answers", "first token", 1000 * short.first, "ms")
    long = served.ask(served.prompt(LONG), 1)
    served.scheduler.turn()
    behind = served.ask(served.prompt(PROMPT), 1)
    turns = served.finish([behind, long])
    report.add("serving", "SmolLM2, and a prompt of 1024", "first token", 1000 * behind.first, "ms")
    report.add("serving", "SmolLM2, and a prompt of 1024", "longest pause of an answer", 1000 * max(turns)[0], "ms")
    served.finish(running)


def prefixes(report, served, count):
    """A prompt, and another with the same beginning: how long the second one takes of the first one's time."""
    head = served.prompt(count)
    times = []
    for _ in range(2):
        client = served.ask([*head, *served.prompt(8)], 1)
        served.finish([client])
        times.append(client.result.timings["prompt_ms"])
    report.add("serving", f"SmolLM2, {count} tokens + 8", "prompt", times[0], "ms")
    report.add("serving", "the same beginning again", "prompt", times[1], "ms", share=times[1] / times[0],
               of="the first time")

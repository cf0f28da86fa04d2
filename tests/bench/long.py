"""Long contexts and several sequences: long prompts, answers behind thousands of cells, eight answers at once."""

from __future__ import annotations

import random
import statistics
import time

from llamafile.model import Model
from runtime.quants import FORMATS

from . import limits, models, peers, serving
from .report import ratio, rounds

PROMPTS = (512, 4096, 16384)
DEPTH, ANSWER, CELLS = 8192, 16, ("f16", "q8_0")
TOGETHER, LENGTH = (1, 8), 32  # sequences, tokens of each answer


def measure(report, options):
    """Report SmolLM2's prompts and answers, and eight answers of the 1.1B model (--large), else of SmolLM2, at once."""
    path = models.fetched(report, "smollm2")
    if path is None:
        return
    prompts, depth = (PROMPTS[:2], 512) if options.quick else (PROMPTS, DEPTH)
    model = Model.open(str(path), n_threads=options.threads)
    try:
        for tokens in prompts:
            prompt(report, options, path, model, tokens)
        for cells in CELLS:
            answer(report, options, path, model, depth, cells)
    finally:
        model.close()
    if options.large:
        together(report, options, "1.1B Q4_0", models.large(report, path, "Q4_0"))
    else:
        together(report, options, "SmolLM2 Q4_1", path)


def tokens_of(model, count):
    """The same random tokens each time."""
    chance = random.Random(3)
    return [chance.randrange(model.tokenizer.n_vocab) for _ in range(count)]


def prompt(report, options, path, model, count):
    """Rounds of a prompt of `count` tokens."""
    ids, ours, theirs = tokens_of(model, count), [], []
    session = model.session(count)
    try:
        for _ in range(options.rounds):
            session.truncate(0)
            started = time.perf_counter()
            session.append(ids)
            ours.append(count / (time.perf_counter() - started))
            if options.peer:
                theirs.append(peers.prompt(options.peer, path, count, options.threads))
    finally:
        session.close()
    report.add("long", "SmolLM2 Q4_1", f"prompt of {count}", statistics.median(ours), "tok/s",
               **models.compared(ours, theirs))


def answer(report, options, path, model, depth, cells):
    """Rounds of some tokens behind `depth`; of the bandwidth each takes the weights and all cells once."""
    ours, theirs, read = [], [], []
    session = model.session(depth + ANSWER, cache_types=(cells, cells))
    try:
        session.append(tokens_of(model, depth))
        work = models.Work(model.file)
        cell = sum(FORMATS[c.dtype].row_size(c.shape[1] * c.shape[2]) for c in session._graph.caches)
        for _ in range(options.rounds):
            session.truncate(depth)
            started = time.perf_counter()
            for token in tokens_of(model, ANSWER):
                session.append([token])
            ours.append(ANSWER / (time.perf_counter() - started))
            read.append(limits.file_bandwidth(model.file, options.threads))
            if options.peer:
                theirs.append(peers.deep(options.peer, path, depth, ANSWER, options.threads, cells))
    finally:
        session.close()
    size = work.bytes + cell * depth
    report.add("long", "SmolLM2 Q4_1", f"answer behind {depth}, {cells}", statistics.median(ours), "tok/s",
               share=ratio([speed * size for speed in ours], read),
               of=f"reading {statistics.median(read) / 1e9:.1f} GB/s", **models.compared(ours, theirs))


def together(report, options, name, path):
    """Rounds of answers at once, beside those of one alone."""
    model = Model.open(str(path), n_threads=options.threads)
    served = [serving.Served(model, count) for count in TOGETHER]
    length = 8 if options.quick else LENGTH
    try:
        runs = rounds(options.rounds, *(lambda one=one, count=count: one.together(count, length)[0]
                                        for one, count in zip(served, TOGETHER)))
    finally:
        for one in served:
            one.close()
        model.close()
    report.add("long", name, "one sequence", statistics.median(runs[0]), "tok/s")
    report.add("long", name, f"{TOGETHER[1]} sequences together", statistics.median(runs[1]), "tok/s",
               share=ratio(runs[1], runs[0]), of="one sequence")

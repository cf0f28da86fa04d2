"""Whole models: prompt and answer in tokens a second beside the machine's limits, time to the first token, memory."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from llamafile.gguf import layout
from llamafile.gguf.reader import open_path
from llamafile.gguf.repack import repack
from llamafile.model import Model
from llamafile.sampling import Params, Sampler
from runtime.quants import BY_ID, FORMATS
from tests import weights

from . import limits, peers, processes, synthetic
from .report import ratio

PROMPT, ANSWER = 512, 128
SHORT = "The sea is full of fish and the"  # eight tokens
COUNTED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
REQUANTIZED = ("Q4_0", "Q8_0", "Q4_K_M", "F16")
LARGE = ("Q4_0", "Q8_0", "Q4_K_M", "F16")


def paths(report, options):
    """Yield (name, path) of every model to be measured, made or fetched when its turn comes."""
    smollm2 = fetched(report, "smollm2")
    if smollm2:
        yield "SmolLM2 Q4_1", smollm2
    if options.quick:
        return
    for kind in REQUANTIZED if smollm2 else ():
        yield f"SmolLM2 {kind}", requantized(smollm2, kind)
    qwen = fetched(report, "qwen0.5b")
    if qwen:
        yield "Qwen2.5-Coder-0.5B", qwen
    for kind in LARGE if options.large and smollm2 else ():
        yield f"1.1B {kind}", large(report, smollm2, kind)


def large(report, vocabulary, kind):
    """The path of the 1.1B model in a mix, made once."""
    path = limits.FOLDER / f"random-1.1B-{kind}.gguf"
    if not path.exists():
        report.note(f"making {path.name}")
        synthetic.make(path, vocabulary, kind)
    return path


def fetched(report, name):
    """The path of a pinned model, or None with a note."""
    try:
        return weights.fetch(name)
    except weights.Unavailable as problem:
        report.note(f"left out: {problem}")
        return None


def requantized(source, kind):
    """SmolLM2 in another mix, made once by the product's own tool."""
    target = limits.FOLDER / f"smollm2-{kind}.gguf"
    if not target.exists():
        limits.FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "llamafile", "quantize", "--allow-requantize", str(source), str(target), kind]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise limits.Missing(f"{target.name}: {done.stderr.strip()}")
    return target


def laid_out(path):
    """The model as `convert --repack` lays it out, made once."""
    target = limits.FOLDER / f"{Path(path).stem}.laid-out.gguf"
    if not target.exists() or target.stat().st_mtime < Path(path).stat().st_mtime:
        limits.FOLDER.mkdir(parents=True, exist_ok=True)
        with open_path(path) as file, open(target, "wb") as out:
            for chunk in layout.file_bytes(file, 0, True):
                out.write(chunk)
    return target


class Work:
    """What a model's tensors ask of the machine: `bytes` read in a decoding step, `operations` for a prompt's token.

    A table that only gives rows is not read; only the last token of a prompt needs the output's product.
    """

    def __init__(self, file):
        matrices = {name: t for name, t in file.tensors.items() if len(t.ne) > 1}
        tied = "output.weight" not in matrices
        read = {n: t for n, t in file.tensors.items() if n != "token_embd.weight" or tied}
        self.bytes = sum(t.nbytes for t in read.values())
        layers = [t for name, t in matrices.items() if name.startswith("blk.")]
        self.operations = sum(2.0 * t.ne[0] * t.ne[1] for t in layers)
        largest = max(layers, key=lambda t: t.nbytes)
        self.unit = limits.unit_of(BY_ID[largest.type].name)


class Runner:
    """One model in this process: a prompt, or an answer, as often as asked; laid out in memory where that is wanted."""

    def __init__(self, path, threads, prompt, answer, in_memory=False):
        file = open_path(str(path))
        if in_memory:
            repack(file, threads)
        self.model = Model(file, n_threads=threads)
        self.session = self.model.session(max(prompt, answer) + 64)
        self.sampler = Sampler(Params(seed=7), self.model.n_vocab, self.session.n_ctx)
        self.work, self.threads, self.answer = Work(self.model.file), threads, answer
        chance = random.Random(3)
        self.ids = [chance.randrange(self.model.tokenizer.n_vocab) for _ in range(prompt)]
        self.inside = 0.0  # seconds in C's run of the program
        self._wrap()

    def _wrap(self):
        run = self.session._program.run

        def timed(**letters):
            started = time.perf_counter()
            run(**letters)
            self.inside += time.perf_counter() - started

        self.session._program.run = timed

    def bandwidth(self):
        """Bytes a second of reading the weights where they lie."""
        return limits.file_bandwidth(self.model.file, self.threads)

    def prefill(self):
        """Tokens a second of the prompt."""
        self.session.truncate(0)
        started = time.perf_counter()
        self.session.append(self.ids)
        return len(self.ids) / (time.perf_counter() - started)

    def decode(self):
        """(tokens a second, share of the time outside the program, share in the sampler) of an answer."""
        self.session.truncate(0)
        self.session.append(self.ids[:1])
        self.inside, sampling = 0.0, 0.0
        started = time.perf_counter()
        for _ in range(self.answer):
            begun = time.perf_counter()
            token = self.sampler.sample(self.session.logits)
            self.sampler.accept(token)
            sampling += time.perf_counter() - begun
            self.session.append([token])
            self.model.tokenizer.piece(token, True)
        took = time.perf_counter() - started
        return self.answer / took, 1 - self.inside / took, sampling / took

    def cell_bytes(self):
        """Bytes of the cache that one token takes in all layers."""
        caches = self.session._graph.caches
        return sum(FORMATS[c.dtype].row_size(c.shape[1] * c.shape[2]) for c in caches)

    def close(self):
        """Give everything back."""
        self.session.close()
        self.model.close()


def measure(report, options):
    """Report every model; with a peer, each round has its turn too."""
    prompt, answer = (64, 8) if options.quick else (PROMPT, ANSWER)
    for name, path in paths(report, options):
        runner = Runner(path, options.threads, prompt, answer)
        others = {"laid out": Runner(laid_out(path), options.threads, prompt, answer),
                  "--repack": Runner(path, options.threads, prompt, answer, in_memory=True)}
        for one in (runner, *others.values()):
            one.prefill()  # brings the pages in
        try:
            speeds(report, options, name, path, runner, others)
            outside(report, options, name, path, runner)
        finally:
            for one in (runner, *others.values()):
                one.close()


def speeds(report, options, name, path, runner, others):
    """Rounds of prompt and answer, the answer between two looks at the bandwidth; then their medians."""
    read, prompts, answers, theirs = [], [], [], []
    laid = {what: ([], []) for what in others}  # prompts and answers of the same weights in another order
    for _ in range(options.rounds):
        for what, other in others.items():
            laid[what][0].append(other.prefill())
            laid[what][1].append(other.decode()[0])
        prompts.append(runner.prefill())
        before = runner.bandwidth()
        answers.append(runner.decode())
        read.append(max(before, runner.bandwidth()))  # the machine's speed moves: the better moment is the limit
        if options.peer:
            theirs.append(peers.run(options.peer, path, len(runner.ids), runner.answer, options.threads))
    work, ours = runner.work, [a[0] for a in answers]
    prompt = statistics.median(prompts)
    unit, peak = work.unit, limits.peak(work.unit, options.threads)
    report.add("models", name, f"prompt of {len(runner.ids)}", prompt, "tok/s",
               share=prompt * work.operations / peak if peak else None, of=f"{unit} peak {peak / 1e9:.0f} GOPS",
               **compared(prompts, [t[0] for t in theirs]))
    report.add("models", name, f"answer of {runner.answer}", statistics.median(ours), "tok/s",
               share=ratio([speed * work.bytes for speed in ours], read),
               of=f"reading {statistics.median(read) / 1e9:.1f} GB/s", **compared(ours, [t[1] for t in theirs]))
    for what, (other_prompts, other_answers) in laid.items():
        report.add("models", name, f"prompt of {len(runner.ids)}, {what}", statistics.median(other_prompts), "tok/s",
                   share=ratio(other_prompts, prompts), of="the plain file")
        report.add("models", name, f"answer of {runner.answer}, {what}", statistics.median(other_answers), "tok/s",
                   share=ratio(other_answers, ours), of="the plain file")
    report.add("models", name, "answer, weights read", statistics.median(ours) * work.bytes / 1e9, "GB/s")
    report.add("models", name, "step: outside the program", 100 * statistics.median(a[1] for a in answers), "%")
    report.add("models", name, "step: sampling", 100 * statistics.median(a[2] for a in answers), "%")


def compared(ours, theirs):
    """The columns of a peer: its median, and the ratio round by round."""
    return {"peer": statistics.median(theirs), "ratio": ratio(ours, theirs)} if theirs else {}


def program():
    """The command that a user would type: the built executable, or the package where there is none."""
    built = limits.FOLDER.parent / "llamafile"
    return [str(built)] if os.access(built, os.X_OK) else [sys.executable, "-m", "llamafile"]


def outside(report, options, name, path, runner):
    """Report what is seen from outside: the time to the first token, and memory beyond weights and cache."""
    command = [*program(), "-m", str(path), "--temp", "0", "--no-display-prompt", "-t", str(options.threads)]
    runs = [processes.first_byte([*command, "-n", "1", "-p", SHORT]) for _ in range(options.rounds + 1)][1:]
    report.add("models", name, f"exec to first token ({Path(command[0]).name})", statistics.median(runs) * 1e3, "ms")
    text = " ".join(COUNTED[i % len(COUNTED)] for i in range(40 if options.quick else 400))
    written = 16
    used = processes.peak_memory([*command, "-n", str(written), "-c", "1024", "--ignore-eos", "-p", text])
    cache = runner.cell_bytes() * (len(runner.model.tokenizer.encode(text.encode())) + written)
    report.add("models", name, f"memory above weights + KV ({Path(command[0]).name})",
               (used - runner.work.bytes - cache) / 2**20, "MiB")

"""Opens what the flags ask for: the model, a session and a sampler, as one timeline of tokens."""

from __future__ import annotations

import sys
import time

from llamafile import times
from llamafile.cli import constraint
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.cli.output import Output
    from llamafile.cli.timeline import Timeline

DEFAULT_CONTEXT = 8192
# Flag → attribute of Rope, and the value that leaves the file's own.
_ROPE = {
    "rope_scaling": ("scaling", None), "rope_freq_base": ("freq_base", None), "rope_freq_scale": ("freq_scale", None),
    "yarn_orig_ctx": ("orig_ctx", 0), "yarn_ext_factor": ("ext_factor", -1.0),
    "yarn_attn_factor": ("attn_factor", -1.0),
    "yarn_beta_slow": ("beta_slow", -1.0), "yarn_beta_fast": ("beta_fast", -1.0),
}  # fmt: skip
_PROCESSORS = {"cpu_mask", "cpu_range", "numa", "prio"}  # flags that say which to use, and how
_KINDS = {"int": int, "float": float, "str": str}


class Engine:
    """A with block that opens model and session, hands out their Timeline, and closes them."""

    def __init__(self, options: Options, output: Output) -> None:
        self.options, self.output = options, output
        self.model: Any = None
        self.session: Any = None
        self.wishes: Any = None  # what is guessed ahead

    def __enter__(self) -> Timeline:
        from llamafile.cli.timeline import Timeline

        started = time.perf_counter()
        try:
            self._open()
            sampler = _sampler(self.options, self.model, self.session.n_ctx)
            grammar = constraint.of(self.options, self.model.tokenizer)
        except BaseException:
            self.__exit__()
            raise
        self.model.pool.settle()
        self.output.note(_banner(self.model, self.session))
        if self.session.n_ctx > self.model.n_ctx_train and not _ROPE.keys() & self.options.given:
            self.output.note(f"-c {self.session.n_ctx}: the model was trained for {self.model.n_ctx_train} tokens; "
                             "beyond them it may write nonsense")
        self._tell_details(sampler)
        if self.session.warning:
            self.output.note(self.session.warning)
        return Timeline(self.options, self.model, self.session, sampler, self.output, time.perf_counter() - started,
                        grammar, self._ahead if self.wishes.any and self.session.n_ahead else None)

    def __exit__(self, *_: object) -> None:
        for thing in (self.session, self.wishes and self.wishes.draft, self.model):
            if thing is not None:
                thing.close()

    def _ahead(self) -> Any:
        """What guesses the session's next tokens; made behind the first one, which should not wait for it."""
        from llamafile.speculation.alone import Alone

        return Alone(self.session, self.wishes)

    def _open_draft(self) -> None:
        """Open the model that guesses ahead, where the flags name one that they use."""
        from llamafile.speculation import wishes

        if wishes.wants_draft(self.options):
            from llamafile.cli import draft

            n_ctx = context_of(self.options, self.model.n_ctx_train)
            self.wishes.draft = draft.open_of(self.options, self.model, n_ctx, 1, self.output.note)

    def _open(self) -> None:
        from llamafile.speculation import wishes

        options = self.options
        self.model = open_model_of(options, self.output.note)
        self.wishes = wishes.of(options, self.model)
        self._open_draft()
        self.session = self.model.session(
            context_of(options, self.model.n_ctx_train), n_batch=min(options.n_batch, options.n_ubatch),
            cache_types=(options.cache_type_k, options.cache_type_v), n_ahead=self.wishes.n_max * self.wishes.any,
        )
        times.mark("program")

    def _tell_details(self, sampler: Any) -> None:
        """Say under -v what this run could be repeated by."""
        session, params, tokenizer = self.session, sampler.params, self.model.tokenizer
        cache = "/".join(session.cache_types)
        self.output.detail(f"model {self.model.file.label}; batch {session.n_batch}, cache {cache}; vocabulary of "
                           f"{tokenizer.n_vocab}, an answer ends at {sorted(tokenizer.eog)}")
        fields = ", ".join(f"{name} {getattr(params, name)!r}" for name in type(params).__slots__ if name != "seed")
        self.output.detail(f"seed {sampler.seed}; {fields}")


def open_model_of(options: Options, note: Callable[[str], None]) -> Any:
    """Return the model that the flags ask for; `note` is told what could not be had. Raises LlamafileError."""
    from llamafile.locate import open_model
    from llamafile.model import Model
    from llamafile.models.positions import Rope
    from runtime import cpu

    if options.isa is not None:
        cpu.choose(options.isa)
    if options.given & _PROCESSORS:
        from llamafile import processors

        processors.choose(options, note)
    file = open_model(options.model)
    override(file, options.override_kv)
    if options.repack:
        _repack(file, options, note)
    rope = Rope(**{name: getattr(options, dest) for dest, (name, unset) in _ROPE.items()
                   if getattr(options, dest) != unset})
    model = Model(file, n_threads=max(0, options.n_threads), n_threads_batch=max(0, options.n_threads_batch),
                  rope=rope, offload=offload(options, note), numa=options.numa, strict=bool(options.cpu_strict))
    model.pool.spin(options.poll)
    times.mark("model")
    if not options.mmap:
        _read_through(file, _shares(options))
    if options.mlock:
        _lock(file, note)
    return model


def _shares(options: Options) -> Any:
    """Return what part of each matrix's rows the threads of each memory node will read, [] where there is one node."""
    from runtime import nodes, threads

    count = max(options.n_threads, options.n_threads_batch)
    plan = nodes.plan(count if count > 0 else threads.physical_cores(), options.numa)
    shares = plan.shares() if plan is not None else []
    return shares if len(shares) > 1 else []


def _repack(file: Any, options: Options, note: Callable[[str], None]) -> None:
    """Lay the weights out in memory, and say what that took."""
    from llamafile.gguf.repack import repack
    from runtime.threads import physical_cores

    count = options.n_threads if options.n_threads > 0 else physical_cores()
    size, seconds = repack(file, count, _shares(options))
    note(f"--repack: {size >> 20} MiB of weights laid out in memory in {seconds:.2f} s" if size else
         "--repack: this model has nothing to lay out, or is laid out already")


def _lock(file: Any, note: Callable[[str], None]) -> None:
    """Keep the weights in memory where the system allows it, and say so where it does not."""
    import ctypes  # --mlock alone pays for it

    libc = ctypes.CDLL(None, use_errno=True)
    for mapping in file.mappings:
        if libc.mlock(ctypes.c_void_p(mapping.address), ctypes.c_size_t(mapping.length)):
            import os

            reason = os.strerror(ctypes.get_errno())
            note(f"--mlock: {reason}; raise ulimit -l to keep {mapping.length >> 20} MiB in memory")
            return


def wanted_gpu(options: Options) -> str:
    """Return "a GPU" where the flags ask for one, by its name or by a number of layers, or on a Mac; else ""."""
    if options.gpu in ("disable", "disabled"):
        return ""
    asked = options.gpu != "auto" or options.n_gpu_layers != 0 or sys.platform.startswith("darwin")
    return "a GPU" if asked else ""


def offload(options: Options, note: Any) -> Any:
    """Return the cards that the flags ask for, an Offload, or None where nothing asks for one."""
    if not wanted_gpu(options):
        return None
    from llamafile import gpu

    return gpu.open_offload(options, note)


def _read_through(file: Any, shares: Any) -> None:
    """Read the weights once from beginning to end, so that the mapping finds all of them in memory.

    The system puts what it reads into the memory of who reads it: with several nodes, each reads its share of rows.
    """
    if shares:
        _read_shares(file, shares)
    for mapping in file.mappings if not shares else ():
        if mapping.fd >= 0:
            _read(mapping, 0, mapping.length)


def _read_shares(file: Any, shares: Any) -> None:
    """Read each memory node's share of the rows of every matrix on a thread that keeps to the node."""
    import threading

    from runtime import nodes

    def work(node: Any, begin: float, end: float) -> None:
        nodes.keep_to(node)
        for tensor in file.tensors.values():
            mapping = file.mappings[tensor.mapping]
            if mapping.fd >= 0:
                first = tensor.offset + int(tensor.nbytes * begin)
                _read(mapping, first, tensor.offset + int(tensor.nbytes * end) - first)

    readers = [threading.Thread(target=work, args=share) for share in shares]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def _read(mapping: Any, offset: int, size: int) -> None:
    """Read some bytes of a mapping's file and forget them."""
    import os

    room, at, end = bytearray(1 << 20), mapping.file_offset + offset, mapping.file_offset + offset + size
    while at < end and (got := os.preadv(mapping.fd, [memoryview(room)[: end - at]], at)):
        at += got


def context_of(options: Options, trained: int) -> int:
    """Return the tokens of context to open: what -c says, 0 the model's own, by default no more than trained for."""
    if "n_ctx" not in options.given:
        return min(DEFAULT_CONTEXT, trained)
    return options.n_ctx or trained


def _banner(model: Any, session: Any) -> str:
    from runtime import cpu

    cards = f"; {model.offload.description}" if model.offload is not None and model.offload.in_use else ""
    return f"{model.description}; {cpu.chosen()}, {_threads(model)}, context {session.n_ctx}{cards}"


def _threads(model: Any) -> str:
    if model.n_threads == model.n_threads_batch:
        return f"{model.n_threads} threads"
    return f"{model.n_threads} threads, {model.n_threads_batch} for prompts"


def override(file: Any, items: tuple[str, ...]) -> None:
    """Change metadata by KEY=TYPE:VALUE items, several separated by commas; raises LlamafileError for a bad one."""
    for item in ",".join(items).split(",") if items else ():
        key, equals, typed = item.partition("=")
        kind, colon, text = typed.partition(":")
        try:
            if not (key and equals and colon):
                raise ValueError
            file.keys[key] = {"true": True, "false": False}[text] if kind == "bool" else _KINDS[kind](text)
        except (KeyError, ValueError):
            raise LlamafileError(f"--override-kv: {item!r} is not KEY=TYPE:VALUE; types are int, float, bool and "
                                 "str") from None


def _sampler(options: Options, model: Any, n_context: int) -> Any:
    from llamafile.sampling import Sampler

    tokenizer = model.tokenizer

    def breakers(texts: Any) -> list[list[int]]:
        from llamafile.sampling.breakers import resolve

        pieces = (tokenizer.piece(token) for token in range(tokenizer.n_vocab))
        return resolve(texts, pieces, lambda text: tokenizer.encode(text, add_special=False, parse_special=False))

    return Sampler(parameters(options), tokenizer.n_vocab, n_context, eog=tokenizer.eog, breakers=breakers)


def parameters(options: Options) -> Any:
    """Return the sampling parameters that the flags set; those not given keep the defaults of Params."""
    from llamafile.cli.texts import unescaped
    from llamafile.sampling import Params

    fields = {name: getattr(options, name) for name in Params.__slots__ if name in options.given}
    if "sampling_seq" in options.given:
        fields["samplers"] = list(options.sampling_seq)
    if "logit_bias" in fields:
        fields["logit_bias"] = [bias_of(item) for item in fields["logit_bias"]]
    if "dry_sequence_breakers" in fields:
        words = [word.encode("utf-8", "surrogateescape") for word in fields["dry_sequence_breakers"]]
        words = [] if words == [b"none"] else words
        fields["dry_sequence_breakers"] = [unescaped(word) if options.escape is not False else word for word in words]
    return Params(**fields)


def bias_of(item: str) -> tuple[int, float]:
    """Return the token and the bias that 15043+1, 15043-1 or 15043-inf name; raises LlamafileError for other text."""
    at = max(item.find("+"), item.find("-"))
    try:
        if at < 0 or not item[:at].isdecimal():
            raise ValueError
        return int(item[:at]), float(item[at:])
    except ValueError:
        raise LlamafileError(f"--logit-bias: {item!r} is not ID+BIAS or ID-BIAS; as in 15043+1 or 15043-inf") from None

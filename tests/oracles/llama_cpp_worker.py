"""Runs inside a child process: drives a prebuilt llama.cpp through ctypes, answers requests, saves arrays."""

from __future__ import annotations

import ctypes as c
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Builds of the package carry one CPU library per instruction set. The least of the modern ones is loaded by name,
# so that the answers do not depend on the machine that asked.
CPU_LIBRARY = "libggml-cpu-haswell.so"
CACHE_TYPES = {"f32": 0, "f16": 1}


class ModelParams(c.Structure):
    """The library's model parameters, held as bytes: only the defaults are used."""

    _fields_ = [("raw", c.c_uint8 * 96)]


class ContextParams(c.Structure):
    """The library's context parameters as of build 0.5.0; `ContextParams.check` compares the defaults."""

    _fields_ = [
        ("n_ctx", c.c_uint32), ("n_batch", c.c_uint32), ("n_ubatch", c.c_uint32), ("n_seq_max", c.c_uint32),
        ("unused_0", c.c_uint32 * 3), ("n_threads", c.c_int32), ("n_threads_batch", c.c_int32),
        ("unused_1", c.c_int32 * 4), ("flash_attn_type", c.c_int32), ("unused_2", c.c_uint8 * 48),
        ("type_k", c.c_int32), ("type_v", c.c_int32), ("unused_3", c.c_uint8 * 16),
        ("flags", c.c_uint8 * 8), ("unused_4", c.c_uint8 * 24),
    ]

    def check(self) -> None:
        """Raise RuntimeError where the defaults are not those of the build that this layout was read from."""
        seen = (self.n_ctx, self.n_batch, self.n_ubatch, self.n_seq_max, self.n_threads, self.n_threads_batch,
                self.flash_attn_type, self.type_k, self.type_v)
        if seen != (512, 2048, 512, 1, 4, 4, -1, 1, 1) or c.sizeof(self) != 160:
            raise RuntimeError(f"llama.cpp's context parameters have another layout: {seen}")


class Batch(c.Structure):
    """One call's tokens, positions, sequences and whether logits are wanted."""

    _fields_ = [
        ("n_tokens", c.c_int32), ("token", c.POINTER(c.c_int32)), ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)), ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))), ("logits", c.POINTER(c.c_int8)),
    ]


def load_library(folder: Path) -> c.CDLL:
    """Load llama.cpp and its CPU backend from a folder and declare what is called."""
    c.CDLL(str(folder / "libggml-base.so"), mode=c.RTLD_GLOBAL)
    ggml = c.CDLL(str(next(folder.glob("libggml.v*.so"))), mode=c.RTLD_GLOBAL)
    lib = c.CDLL(str(next(folder.glob("libllama.v*.so"))))
    ggml.ggml_backend_load.restype = c.c_void_p
    if not ggml.ggml_backend_load(str(folder / CPU_LIBRARY).encode()):
        raise RuntimeError(f"{CPU_LIBRARY}: does not load on this processor")
    pointer, size = c.c_void_p, c.c_int32
    text, ids, flag = c.c_char_p, c.POINTER(c.c_int32), c.c_bool
    for name, result, arguments in (
        ("llama_model_default_params", ModelParams, []),
        ("llama_context_default_params", ContextParams, []),
        ("llama_model_load_from_file", pointer, [text, ModelParams]),
        ("llama_model_get_vocab", pointer, [pointer]),
        ("llama_vocab_n_tokens", size, [pointer]),
        ("llama_vocab_bos", size, [pointer]),
        ("llama_vocab_get_add_bos", flag, [pointer]),
        ("llama_init_from_model", pointer, [pointer, ContextParams]),
        ("llama_free", None, [pointer]),
        ("llama_batch_init", Batch, [size, size, size]),
        ("llama_batch_free", None, [Batch]),
        ("llama_decode", size, [pointer, Batch]),
        ("llama_get_logits_ith", c.POINTER(c.c_float), [pointer, size]),
        ("llama_tokenize", size, [pointer, text, size, ids, size, flag, flag]),
        ("llama_detokenize", size, [pointer, ids, size, c.c_void_p, size, flag, flag]),
        ("llama_log_set", None, [c.c_void_p, c.c_void_p]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Engine:
    """One model; each request gets a fresh context."""

    def __init__(self, lib: c.CDLL, path: str, options: dict[str, Any]):
        self.lib, self.options = lib, options
        self.model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"{path}: llama.cpp cannot load it")
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.vocab_size = lib.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> dict[str, np.ndarray]:
        """Ids of a text given as Latin-1 characters that stand for its bytes."""
        data = text.encode("latin-1")
        room = len(data) + 16
        out = (c.c_int32 * room)()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), out, room, add_special, parse_special)
        if count < 0:
            raise RuntimeError(f"llama_tokenize answers {count}")
        return {"ids": np.array(out[:count], np.int32)}

    def detokenize(self, ids: list[int], special: bool) -> dict[str, np.ndarray]:
        """The bytes of some ids; control tokens are written out where `special` is set."""
        given = (c.c_int32 * len(ids))(*ids)
        room = 64 + 64 * len(ids)
        while True:
            out = c.create_string_buffer(room)
            count = self.lib.llama_detokenize(self.vocab, given, len(ids), out, room, False, special)
            if count >= 0:
                return {"bytes": np.frombuffer(out.raw[:count], np.uint8)}
            room = -count

    def logits(self, ids: list[int], first: int, step: int) -> dict[str, np.ndarray]:
        """f32[len(ids) - first, vocab]: logits at each position from `first`, `step` tokens a call."""
        with Context(self, len(ids), step) as context:
            return {"logits": np.concatenate(list(context.feed(ids, first, step)))}

    def forced(self, ids: list[int], first: int, step: int, top: int) -> dict[str, np.ndarray]:
        """The `top` best ids and logits at each position from `first`, best first."""
        with Context(self, len(ids), step) as context:
            parts = [best(rows, top) for rows in context.feed(ids, first, step)]
        return {"ids": np.concatenate([p[0] for p in parts]), "logits": np.concatenate([p[1] for p in parts])}

    def greedy(self, ids: list[int], count: int, top: int) -> dict[str, np.ndarray]:
        """`count` tokens by always taking the best logit (end tokens included), with the `top` best at each step."""
        steps = []
        with Context(self, len(ids) + count, len(ids)) as context:
            rows = list(context.feed(ids, len(ids) - 1, len(ids)))[-1]
            steps.append(best(rows, top))
            while len(steps) < count:
                rows = next(context.feed([int(steps[-1][0][0, 0])], 0, 1))
                steps.append(best(rows, top))
        return {"ids": np.concatenate([s[0] for s in steps]), "logits": np.concatenate([s[1] for s in steps])}

    def perplexity(self, ids: list[int], window: int) -> dict[str, np.ndarray]:
        """Sum of -ln p and count for each whole window; see `llama_cpp.perplexity` for the definition."""
        bos = self.lib.llama_vocab_bos(self.vocab) if self.lib.llama_vocab_get_add_bos(self.vocab) else None
        sums = []
        for start in range(0, len(ids) - window + 1, window):
            tokens = list(ids[start:start + window])
            targets = tokens[window // 2 + 1:]
            if bos is not None:
                tokens[0] = bos
            with Context(self, window, window) as context:
                rows = np.concatenate(list(context.feed(tokens, window // 2, window)))[:-1].astype(np.float64)
            rows -= rows.max(-1, keepdims=True)
            chosen = rows[np.arange(len(targets)), targets]
            sums.append((np.log(np.exp(rows).sum(-1)) - chosen).sum())
        return {"nll": np.array(sums), "count": np.array(window - window // 2 - 1)}


class Context:
    """A context of one sequence that is fed tokens in order."""

    def __init__(self, engine: Engine, tokens: int, step: int):
        params = engine.lib.llama_context_default_params()
        params.check()
        params.n_ctx = tokens + 8
        params.n_batch = params.n_ubatch = min(max(step, 1), engine.options["ubatch"])
        params.n_threads = params.n_threads_batch = engine.options["threads"]
        params.flash_attn_type = engine.options["flash_attention"]
        params.type_k = params.type_v = CACHE_TYPES[engine.options["cache"]]
        self.engine, self.room = engine, params.n_batch
        self.handle = engine.lib.llama_init_from_model(engine.model, params)
        if not self.handle:
            raise RuntimeError("llama.cpp cannot make a context")
        self.batch = engine.lib.llama_batch_init(self.room, 0, 1)
        self.position = 0

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.lib.llama_batch_free(self.batch)
        self.engine.lib.llama_free(self.handle)

    def feed(self, ids: list[int], first: int, step: int):
        """Decode ids in calls of at most `step`; yield f32[n, vocab] for the positions from `first` of each call."""
        step = min(step, self.room)
        for start in range(0, len(ids), step):
            part = ids[start:start + step]
            wanted = [start + i >= first for i in range(len(part))]
            self._decode(part, wanted)
            rows = [self._row(i) for i, want in enumerate(wanted) if want]
            if rows:
                yield np.stack(rows)

    def _decode(self, part: list[int], wanted: list[bool]) -> None:
        batch = self.batch
        batch.n_tokens = len(part)
        for i, (token, want) in enumerate(zip(part, wanted, strict=True)):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.position + i, want
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        code = self.engine.lib.llama_decode(self.handle, batch)
        if code:
            raise RuntimeError(f"llama_decode answers {code}")
        self.position += len(part)

    def _row(self, index: int) -> np.ndarray:
        pointer = self.engine.lib.llama_get_logits_ith(self.handle, index)
        return np.ctypeslib.as_array(pointer, (self.engine.vocab_size,)).copy()


def best(rows: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids i32[n, top] and logits f32[n, top] of the best of each row; the lower id first where they are equal."""
    order = np.argsort(-rows, axis=-1, kind="stable")[:, :top]
    return order.astype(np.int32), np.take_along_axis(rows, order, -1)


QUIET = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)


def main() -> None:
    """Read one JSON job from stdin: library folder, model, options, requests; save the answers as job["out"]."""
    job = json.load(sys.stdin)
    lib = load_library(Path(job["library"]))
    kept = []
    silent = QUIET(lambda level, text, _: kept.append(text) if level >= 4 else None)
    lib.llama_log_set(silent, None)
    try:
        engine = Engine(lib, job["model"], job["options"])
    except RuntimeError as problem:
        reason = b"".join(kept).decode("utf-8", "replace").strip()
        sys.exit(f"{problem}: {reason}")
    answers = {}
    for number, (verb, arguments) in enumerate(job["requests"]):
        for name, array in getattr(engine, verb)(**arguments).items():
            answers[f"{number}.{name}"] = array
    np.savez(job["out"], **answers)


if __name__ == "__main__":
    main()

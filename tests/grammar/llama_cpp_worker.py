"""Runs inside a child process: asks a prebuilt llama.cpp which tokens a grammar allows, step by step (JSON)."""

from __future__ import annotations

import base64
import ctypes as c
import json
import sys
from pathlib import Path

import numpy as np

from tests.oracles.llama_cpp_worker import ModelParams, load_library
from tests.sampling.llama_cpp_worker import Candidate, Candidates

KIND = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])


class Oracle:
    """A vocabulary and the grammars over it."""

    def __init__(self, folder: str, model: str):
        self.lib = load_library(Path(folder))
        for name, result, arguments in (
            ("init_grammar", c.c_void_p, [c.c_void_p, c.c_char_p, c.c_char_p]),
            ("accept", None, [c.c_void_p, c.c_int32]),
            ("apply", None, [c.c_void_p, c.POINTER(Candidates)]),
            ("free", None, [c.c_void_p]),
        ):
            function = getattr(self.lib, f"llama_sampler_{name}")
            function.restype, function.argtypes = result, arguments
        self.lib.llama_model_default_params.restype = ModelParams
        handle = self.lib.llama_model_load_from_file(model.encode(), self.lib.llama_model_default_params())
        self.vocab = self.lib.llama_model_get_vocab(handle)
        self.n = self.lib.llama_vocab_n_tokens(self.vocab)

    def masks(self, grammar: str, ids: list[int]) -> list[str]:
        """The allowed ids, as packed bits in base64, before each id and after the last."""
        sampler = self.lib.llama_sampler_init_grammar(self.vocab, grammar.encode(), b"root")
        if not sampler:
            raise SystemExit(f"llama.cpp does not read the grammar {grammar!r}")
        out = [self.allowed(sampler)]
        for id in ids:
            self.lib.llama_sampler_accept(sampler, id)
            out.append(self.allowed(sampler))
        self.lib.llama_sampler_free(sampler)
        return out

    def allowed(self, sampler) -> str:
        data = (Candidate * self.n)()
        view = np.frombuffer(data, KIND)
        view["id"] = np.arange(self.n)
        array = Candidates(data, self.n, -1, False)
        self.lib.llama_sampler_apply(sampler, c.byref(array))
        bits = np.zeros(self.n, np.uint8)
        bits[view["id"][view["logit"] > -np.inf]] = 1
        return base64.b64encode(np.packbits(bits).tobytes()).decode()


def main() -> None:
    job = json.load(sys.stdin)
    oracle = Oracle(job["library"], job["model"])
    print(json.dumps([oracle.masks(*case) for case in job["cases"]]))


if __name__ == "__main__":
    main()

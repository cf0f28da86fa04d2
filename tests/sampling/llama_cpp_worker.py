"""Runs inside a child process: drives a prebuilt llama.cpp's samplers through ctypes; cases in, choices out (JSON)."""

from __future__ import annotations

import ctypes as c
import json
import sys
from pathlib import Path

import numpy as np


def row(seed: int, place: int, n: int) -> np.ndarray:
    """The logits f32[n] of one step of one case, the same in this process and in the test."""
    return np.random.default_rng([seed, place]).normal(0, 3, n).astype(np.float32)


class Candidate(c.Structure):
    _fields_ = [("id", c.c_int32), ("logit", c.c_float), ("p", c.c_float)]


class Candidates(c.Structure):
    _fields_ = [("data", c.POINTER(Candidate)), ("size", c.c_size_t), ("selected", c.c_int64), ("sorted", c.c_bool)]


class ChainParams(c.Structure):
    _fields_ = [("no_perf", c.c_bool)]


INT, UINT, FLOAT, SIZE, POINTER = c.c_int32, c.c_uint32, c.c_float, c.c_size_t, c.c_void_p
MAKERS = {  # the signatures of build 0.5.0
    "penalties": [INT, INT, FLOAT, FLOAT, FLOAT], "dry": [POINTER, FLOAT, FLOAT, INT, INT, POINTER, SIZE],
    "top_n_sigma": [FLOAT], "top_k": [INT], "typical": [FLOAT, SIZE], "top_p": [FLOAT, SIZE], "min_p": [FLOAT, SIZE],
    "xtc": [FLOAT, FLOAT, SIZE, UINT], "temp_ext": [FLOAT, FLOAT, FLOAT], "dist": [UINT],
    "mirostat": [INT, UINT, FLOAT, FLOAT, INT], "mirostat_v2": [UINT, FLOAT, FLOAT],
}  # fmt: skip


class Library:
    """The functions called, with their types."""

    def __init__(self, folder: Path):
        c.CDLL(str(folder / "libggml-base.so"), mode=c.RTLD_GLOBAL)
        c.CDLL(str(next(folder.glob("libggml.v*.so"))), mode=c.RTLD_GLOBAL)
        self.lib = c.CDLL(str(next(folder.glob("libllama.v*.so"))))
        declared = {f"init_{name}": (POINTER, types) for name, types in MAKERS.items()}
        declared |= {"chain_init": (POINTER, [ChainParams]), "chain_add": (None, [POINTER, POINTER]),
                     "apply": (None, [POINTER, c.POINTER(Candidates)]), "accept": (None, [POINTER, INT]),
                     "free": (None, [POINTER])}  # fmt: skip
        for name, (result, types) in declared.items():
            function = getattr(self.lib, f"llama_sampler_{name}")
            function.restype, function.argtypes = result, types
            setattr(self, name, function)

    def chain(self, p: dict, n: int):
        """The default chain, or mirostat after the temperature."""
        made = self.chain_init(ChainParams(True))
        least, seed = p["min_keep"], p["seed"]
        penalties = [self.init_penalties(n, p["repeat_last_n"], p["repeat_penalty"], p["frequency_penalty"],
                                         p["presence_penalty"]),
                     self.init_dry(None, p["dry_multiplier"], p["dry_base"], p["dry_allowed_length"],
                                   p["dry_penalty_last_n"], None, 0)]  # fmt: skip
        temperature = self.init_temp_ext(p["temperature"], p["dynatemp_range"], p["dynatemp_exponent"])
        if p["mirostat"] == 1:
            rest = [temperature, self.init_mirostat(n, seed, p["mirostat_tau"], p["mirostat_eta"], 100)]
        elif p["mirostat"] == 2:
            rest = [temperature, self.init_mirostat_v2(seed, p["mirostat_tau"], p["mirostat_eta"])]
        else:
            rest = [self.init_top_n_sigma(p["top_n_sigma"]), self.init_top_k(p["top_k"]),
                    self.init_typical(p["typical_p"], least), self.init_top_p(p["top_p"], least),
                    self.init_min_p(p["min_p"], least),
                    self.init_xtc(p["xtc_probability"], p["xtc_threshold"], least, seed), temperature,
                    self.init_dist(seed)]  # fmt: skip
        for sampler in penalties + rest:
            self.chain_add(made, sampler)
        return made

    def run(self, p: dict, n: int, steps: int) -> list[list]:
        """Each step's token and, sorted, the ids that it was drawn from."""
        chain, out = self.chain(p, n), []
        kinds = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])
        for place in range(steps):
            data = (Candidate * n)()
            view = np.frombuffer(data, kinds)
            view["id"], view["logit"] = np.arange(n), row(p["seed"], place, n)
            array = Candidates(data, n, -1, False)
            self.apply(chain, c.byref(array))
            token = array.data[array.selected].id
            self.accept(chain, token)
            # A temperature of 0 leaves the others in place with a probability of 0.
            left = [array.data[i].id for i in range(array.size) if array.data[i].logit > -np.inf]
            out.append([token, sorted(left)])
        self.free(chain)
        return out


def main() -> None:
    library = Library(Path(sys.argv[1]))
    print(json.dumps([library.run(*case) for case in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()

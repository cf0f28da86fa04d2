"""The same logits, parameters and seed make the choices that a prebuilt llama.cpp makes, candidate for candidate."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llamafile.sampling import Params, Sampler
from tests.oracles.llama_cpp import ensure
from tests.weights import Unavailable

from .llama_cpp_worker import row

STEPS = 120
FIELDS: list[dict] = [
    {}, {"temperature": 0.0}, {"temperature": 2.0}, {"top_k": 0}, {"top_k": 3, "min_keep": 2}, {"min_keep": 5},
    {"repeat_penalty": 1.2}, {"repeat_penalty": 1.2, "repeat_last_n": 20}, {"frequency_penalty": 0.3},
    {"presence_penalty": -0.4, "repeat_last_n": 5}, {"typical_p": 0.8}, {"typical_p": 0.3, "min_keep": 4},
    {"top_n_sigma": 1.0}, {"xtc_probability": 0.5, "xtc_threshold": 0.05}, {"top_p": 0.5}, {"min_p": 0.3},
    {"dynatemp_range": 0.5, "dynatemp_exponent": 1.5}, {"mirostat": 1, "mirostat_tau": 3.0},
    {"mirostat": 1, "mirostat_tau": 4.0}, {"mirostat": 2},
    {"mirostat": 2, "mirostat_eta": 0.5, "temperature": 1.5}, {"dry_multiplier": 3.0},
    {"dry_multiplier": 1.0, "dry_base": 3.0, "dry_allowed_length": 1, "dry_penalty_last_n": 20},
]  # fmt: skip
PLAIN = (str, float, int)


def cases():
    """Every set of fields on a few vocabularies: small ones repeat themselves, so that penalties have work."""
    for place, fields in enumerate(FIELDS):
        for n in (4, 50, 3000):
            if fields.get("mirostat_tau") == 4.0 and n < 3000:
                continue  # it wants more candidates than there are, and llama.cpp's k overflows an int
            seeded = {"seed": 100 * place + n, "dry_penalty_last_n": 64, "dry_sequence_breakers": (), **fields}
            yield Params(**seeded), n


@pytest.fixture(scope="module")
def theirs():
    try:
        folder = ensure()
    except Unavailable as problem:
        pytest.skip(str(problem))
    asked = [({name: getattr(p, name) for name in Params.__slots__ if isinstance(getattr(p, name), PLAIN)}, n, STEPS)
             for p, n in cases()]  # fmt: skip
    command = [sys.executable, "-m", "tests.sampling.llama_cpp_worker", str(folder)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.models
def test_choices_equal_llama_cpps(theirs):
    for (params, n), expected in zip(cases(), theirs, strict=True):
        sampler = Sampler(params, n, 256)
        for place, (token, ids) in enumerate(expected):
            logits = row(params.seed, place, n)
            said = f"{n} tokens, seed {params.seed}, step {place}"
            assert sampler.sample(logits.ctypes.data) == token, said
            assert sorted(i for i, _ in sampler.drawn_logprobs(token, n)[1]) == ids, said
            sampler.accept(token)

"""Parameters: defaults, bounds, the chain's names, biases and breakers; bad ones are one line naming the flag."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from llamafile.errors import LlamafileError
from llamafile.sampling import Params, Sampler
from llamafile.sampling.breakers import resolve
from llamafile.sampling.params import biases, letters

NAN, INF = float("nan"), float("inf")


def test_defaults():
    """As `llama.cpp` documents them in its server's README and --help."""
    expected = {
        "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "typical_p": 1.0, "repeat_penalty": 1.0,
        "repeat_last_n": 64, "presence_penalty": 0.0, "frequency_penalty": 0.0, "dry_multiplier": 0.0,
        "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1, "xtc_probability": 0.0,
        "xtc_threshold": 0.1, "top_n_sigma": -1.0, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "mirostat": 0,
        "mirostat_tau": 5.0, "mirostat_eta": 0.1, "seed": -1, "min_keep": 0, "n_probs": 0, "ignore_eos": False,
        "logit_bias": {}, "dry_sequence_breakers": ("\n", ":", '"', "*"),
        "samplers": "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature",
    }  # fmt: skip
    params = Params()
    assert {name: getattr(params, name) for name in Params.__slots__} == expected
    with pytest.raises(AttributeError):
        Params(temprature=1.0)


@pytest.mark.parametrize(("field", "value", "flag"), [
    ("temperature", NAN, "--temp"), ("temperature", INF, "--temp"), ("temperature", "0.5", "--temp"),
    ("temperature", True, "--temp"), ("temperature", None, "--temp"), ("temperature", 10**400, "--temp"),
    ("top_k", 1.5, "--top-k"), ("top_k", -2, "--top-k"), ("top_k", 2**31, "--top-k"),
    ("top_p", NAN, "--top-p"), ("top_p", -0.1, "--top-p"), ("min_p", 1.1, "--min-p"), ("min_p", -1, "--min-p"),
    ("typical_p", -1.0, "--typical"), ("top_n_sigma", NAN, "--top-n-sigma"),
    ("xtc_probability", 2, "--xtc-probability"), ("xtc_threshold", -0.5, "--xtc-threshold"),
    ("repeat_penalty", 0, "--repeat-penalty"), ("repeat_penalty", -1.1, "--repeat-penalty"),
    ("repeat_last_n", -2, "--repeat-last-n"), ("presence_penalty", INF, "--presence-penalty"),
    ("frequency_penalty", -INF, "--frequency-penalty"), ("dry_multiplier", -1, "--dry-multiplier"),
    ("dry_base", 0.5, "--dry-base"), ("dry_allowed_length", -1, "--dry-allowed-length"),
    ("dry_penalty_last_n", -7, "--dry-penalty-last-n"), ("dynatemp_range", -0.1, "--dynatemp-range"),
    ("dynatemp_exponent", NAN, "--dynatemp-exp"), ("mirostat", 3, "--mirostat"), ("mirostat_tau", -1, "--mirostat-ent"),
    ("mirostat_eta", NAN, "--mirostat-lr"), ("seed", -2, "--seed"), ("seed", 2**32, "--seed"),
    ("min_keep", -1, "min_keep"), ("n_probs", -1, "n_probs"),
    ("samplers", "top_k;tfs_z", "--samplers"), ("samplers", "kfypmt", "--samplers"), ("samplers", 5, "--samplers"),
    ("samplers", ["top_k", 3], "--samplers"), ("samplers", "k" * 33, "--samplers"),
    ("logit_bias", {1: NAN}, "--logit-bias"), ("logit_bias", {1: True}, "--logit-bias"),
    ("logit_bias", {-1: 1.0}, "--logit-bias"), ("logit_bias", {"a": 1.0}, "--logit-bias"),
    ("logit_bias", [[1]], "--logit-bias"), ("logit_bias", 3, "--logit-bias"),
    ("logit_bias", {100: 1.0}, "--logit-bias"), ("logit_bias", {1: 10**400}, "--logit-bias"),
])  # fmt: skip
def test_bad_values_are_one_line_naming_the_flag(field, value, flag):
    with pytest.raises(LlamafileError) as caught:
        Sampler(Params(**{field: value}), 100, 64)
    assert re.fullmatch(re.escape(flag) + r": [^\n]+; [^\n]+", str(caught.value))


@pytest.mark.parametrize(("n_vocab", "n_context", "words"), [
    (0, 64, "1 to 1048576 tokens"), (2**20 + 1, 64, "1 to 1048576 tokens"), (100, 0, "at least one cell"),
])  # fmt: skip
def test_impossible_models_are_refused(n_vocab, n_context, words):
    with pytest.raises(LlamafileError, match=words):
        Sampler(Params(), n_vocab, n_context)


def test_names_of_the_chain():
    assert letters(Params().samplers) == "edskypmxt"
    assert letters("edskypmxt") == "edskypmxt"
    assert letters("top_k; top-p ;temp") == "kpt"
    assert letters(["min_p", "temperature", "k"]) == "mtk"
    assert letters("dry") == "d"
    assert letters("temperature") == letters("t") == "t"
    assert letters("") == letters([]) == ""
    assert letters("typical_p;typ_p;nucleus") == "yyp"
    assert letters("temp") == "t" and letters(list("temp")) == "temp", "what is a name is not read as letters"


def test_biases_in_every_form():
    assert biases({3: 1, 4: False}) == {3: 1.0, 4: -INF}
    assert biases([[3, 1.5], (3, 1.0), [2, -INF]]) == {3: 2.5, 2: -INF}


PIECES = [b"a", b"\n", b"b\n", b"\n\nc", b"end", b"the e", b"nd", b"en", b"d"]


def tokenize(text: bytes) -> list[int]:
    return [PIECES.index(text)] if text in PIECES else [PIECES.index(bytes([byte])) for byte in text]


def test_breakers_are_found_however_they_are_spelt():
    assert resolve(["\n"], PIECES, tokenize) == [[1], [2], [3]]
    assert sorted(resolve(["end"], PIECES, tokenize)) == [[4], [5, 6], [7, 8]]
    assert resolve([[7, 8], "", b"a"], PIECES, tokenize) == [[7, 8], [0]]
    assert resolve(["a", "\n"], iter(PIECES), tokenize) == [[0], [1], [2], [3]]


def test_breakers_are_resolved_only_for_dry():
    def refuse(_):
        raise AssertionError("called without DRY")

    Sampler(Params(), 100, 64, breakers=refuse)
    Sampler(Params(dry_multiplier=1.0, samplers="top_k"), 100, 64, breakers=refuse)
    asked: list[object] = []
    Sampler(Params(dry_multiplier=1.0), 100, 64, breakers=lambda texts: asked.append(texts) or [[5], [3, 4], []])
    assert asked == [("\n", ":", '"', "*")]


def test_nothing_slow_is_imported():
    code = "import sys; before = set(sys.modules); import llamafile.sampling; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"_cffi_backend", "llamafile", "llamafile._native", "llamafile._native.lib", "llamafile.errors",
               "llamafile.sampling", "llamafile.sampling.params", "__future__"}  # fmt: skip
    assert set(done.stdout.split()) - allowed == set()

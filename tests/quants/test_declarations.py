"""The declared formats against the gguf package's tables, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import gguf
import pytest

from runtime.quants import BY_ID, FORMATS, title
from runtime.quants.generate import header

from .cases import COMPUTED, QUANTS
from .conftest import HERE


def test_every_id_name_and_size_is_ggufs():
    sizes = {t.value: (t.name, *gguf.GGML_QUANT_SIZES[t]) for t in gguf.GGMLQuantizationType}
    sizes.setdefault(42, ("Q2_0", 64, 18))  # newer than the package
    assert {f.id: (repr(f), f.block, f.size) for f in FORMATS.values() if not f.plain} == sizes
    assert min(f.id for f in FORMATS.values() if f.plain) > 10 * max(sizes)  # other programs do not know them
    assert set(BY_ID.values()) == set(FORMATS.values())


def test_the_engine_computes_these():
    names = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4"
    assert {repr(f) for f in COMPUTED} == set(names.split())


def test_groups_and_biases():
    assert {f.name for f in QUANTS if f.group == 16} == {"q2_k", "q3_k", "q6_k"}
    assert {f.group for f in QUANTS} == {16, 32}
    assert {f.name for f in QUANTS if f.biased} == {"q4_1", "q5_1", "q2_k", "q4_k", "q5_k"}


def test_row_size():
    assert FORMATS["q4_k"].row_size(512) == 288
    assert FORMATS["f16"].row_size(3) == 6
    assert FORMATS["q8_0"].row_size(0) == 0
    for n in (-32, 1, 31, 33):
        with pytest.raises(ValueError, match="Q8_0"):
            FORMATS["q8_0"].row_size(n)


def test_titles():
    assert [title(i) for i in (2, 12, 16, 31, 99)] == ["Q4_0", "Q4_K", "IQ2_XXS", "Q4_0_4_4", "format 99"]


def run(code):
    """What a bare interpreter prints that is told where the project lies."""
    command = [sys.executable, "-I", "-S", "-c", code, str(HERE.parents[1])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_import_needs_nothing():
    code = "import sys; a = set(sys.modules); import runtime.quants; print(*sorted(set(sys.modules) - a))"
    new = run(f"import sys; sys.path.insert(0, sys.argv[1]); {code}").split()
    assert "runtime.quants" in new
    assert [m for m in new if m.split(".")[0] not in ("runtime", "__future__")] == []


def test_import_runs_below_a_millisecond():
    """The modules' own code, best of 50, without the file system: as it is in the executable."""
    code = """
import importlib, marshal, sys, time
sys.path.insert(0, sys.argv[1])
import runtime.quants
names = [n for n in sys.modules if n.startswith("runtime.quants")]
codes = {n: marshal.dumps(compile(open(sys.modules[n].__file__).read(), n, "exec")) for n in names}
best = 1
for _ in range(50):
    start = time.process_time()
    for name, blob in codes.items():
        exec(marshal.loads(blob), {"__name__": name, "__package__": "runtime.quants"})
    best = min(best, time.process_time() - start)
print(best)
"""
    assert float(run(code)) < 1e-3


def test_the_header_names_no_format_twice():
    lines = header().splitlines()
    assert len([x for x in lines if x.startswith("typedef struct LF_BLOCK")]) == len(COMPUTED)
    assert len([x for x in lines if x.startswith("LF_TABLE int8_t lf_codebook_")]) == 2
    for format in QUANTS:
        assert sum(x.startswith((f"LF_UNPACK({format.name})", f"LF_DECODE({format.name})")) for x in lines) == 2

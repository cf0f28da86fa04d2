"""The Metal module: clang reads every file by Apple's rules, fibers run every op and a whole model on this machine."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from llamafile.offload import Offload
from runtime import build
from runtime.devices import Module
from tests.gpu import compiled, test_models, test_ops
from tests.gpu.card import Card

APPLE = compiled.ROOT / "tests" / "gpu" / "apple"
METAL = compiled.GPU / "metal"
INCLUDES = [f"-I{APPLE}", f"-I{METAL}", f"-I{compiled.ROOT / 'runtime'}", f"-I{build.BUILD / 'generated'}"]
CLANG = ["clang", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]


def clang(*words, text=None):
    build.write_headers()
    try:
        done = subprocess.run([*CLANG, *words], capture_output=True, text=True, input=text)
    except FileNotFoundError:
        pytest.skip("clang is not installed")
    return done.returncode, done.stderr


def shaders(change=lambda text: text):
    """The text that the module hands to Metal, for clang."""
    source = (METAL / "module.m").read_text()
    names = [name for name in source.split('"') if name.endswith((".metal", "arguments.h", "formats.h"))]
    names = [name for name in names if name.startswith("gpu_modules/")]
    assert {f"gpu_modules/metal/{path.name}" for path in METAL.glob("*.metal")} < set(names), "a file does not travel"
    found = []
    for name in names:
        path = build.BUILD / "generated" / "formats.h" if "generated" in name else compiled.ROOT / name
        found.append(change(path.read_text()))
    return "#define __METAL_VERSION__ 310\n#define LF_AT_ROOM\n#define LF_MADE(host, ...) template kernel " \
           "decltype(__VA_ARGS__) __VA_ARGS__;\n" + "\n".join(found)  # fmt: skip


SHADER = ["-x", "c++", "-std=c++14", "-nostdinc++", "-Wno-unknown-attributes", "-Wno-unused-parameter",
          "-Wno-unused-function", *INCLUDES, "-"]  # fmt: skip


def test_clang_reads_the_hosts_side():
    words = ["-x", "objective-c", "-fobjc-runtime=macosx-13", "-fobjc-arc", "-fblocks", '-DLF_SOURCES="/x"', *INCLUDES]
    status, said = clang(*words, str(METAL / "module.m"))
    assert not status, said


def test_clang_reads_the_kernels_with_address_spaces():
    status, said = clang(*SHADER, text=shaders())
    assert not status, said
    # The check can fail: a pointer that forgets where it points is an error, as it is to Apple's compiler.
    status, said = clang(*SHADER, text=shaders(lambda text: text.replace("device float *weight =", "float *weight =")))
    assert status and "'float *' with an rvalue of type 'device float *'" in said


def test_one_binding_a_kernel():
    """Names of kernels, as the launches ask for them, and the kernels that there are."""
    from runtime.ops import OPS

    text = shaders()
    for name, op in OPS.items():
        if name in ("matmul", "matmul_quantized") or op.reference.__module__ == "runtime.ops.seams":  # the CPU's own
            continue
        assert f'"lf_{name}"' in text or f"LF_KERNEL(lf_{name})" in text, name
    for name in ("few_floats", "few_integers", "many_floats", "many_integers"):
        assert f'"lf_{name}_rows"' in text and f'"lf_{name}_rows"' in (METAL / "dispatch.h").read_text()


@pytest.fixture(scope="module")
def path():
    return compiled.module("metal-emulated")


@pytest.fixture(scope="module")
def card(path):
    card = Card(path)
    yield card
    card.close()


@pytest.mark.parametrize("name", [
    "test_extreme_values_of_activations", "test_experts_that_nobody_chose", "test_routing", "test_rows",
    "test_attention_of_rows_that_see_nothing", "test_empty_calls", "test_views_with_gaps",
    "test_a_stretch_is_captured_and_repeated",
])  # fmt: skip
def test_odd_cases_of_ops(card, name):
    getattr(test_ops, name)(card)


@pytest.mark.parametrize("name", ["elementwise", "norms", "float_products", "quantised_products", "experts",
                                  "cache_cells", "rotation", "attention"])  # fmt: skip
def test_ops_of_many_sizes(card, name):
    """Each case of the other cards' tests; the sizes and formats that take long are the long run's."""
    from tests.runtime import cases

    few = {
        "elementwise": [c for shape in cases.ELEMENTWISE for c in cases.elementwise(shape)],
        "norms": [c for shape in cases.NORMS for c in cases.norms(shape)],
        "float_products": [cases.float_product(t, f) for f in test_ops.FLOATS for t in (1, 8, 9, 33)],
        "quantised_products": [cases.quantised_product(f, t) for f in cases.QUANTS for t in (1, 3, 21)],
        "experts": [cases.experts(f, s, t=5) for f in cases.EXPERTS for s in (True, False)],
        "cache_cells": [c for f in ("f32", "f16") for c in cases.cells(f)],
        "rotation": [c for halves in (0, 1) for c in cases.rotation(halves)],
        "attention": list(cases.attention(2)),
    }
    for case in few[name]:
        case.check(card.case(case))
        card.free()


@pytest.mark.parametrize("name", test_ops.CACHES)
def test_caches(card, name):
    test_ops.test_caches_of_every_format_keep_what_is_stored(card, name)


@pytest.mark.models
@pytest.mark.parametrize(("layers", "count"), [(2, 20), pytest.param(999, 40, marks=pytest.mark.long)])
def test_a_whole_model(path, smollm2, layers, count):
    """Its weights are read in place, from the pages of the file."""
    ids = test_models.tokens("fact", count)
    cpu = test_models.logits(smollm2, ids)
    offload = Offload([Module(path).open(0)], layers)
    ours = test_models.logits(smollm2, ids, offload)
    test_models.agrees(ours, cpu)
    assert np.isfinite(ours).all()

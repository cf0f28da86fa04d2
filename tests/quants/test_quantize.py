"""`llamafile quantize`: which tensors get which format, next to llama.cpp; contents, keys, words and errors."""

from __future__ import annotations

import os
import subprocess
import sys

import gguf
import numpy as np
import pytest

from llamafile import quantize
from llamafile.errors import LlamafileError
from llamafile.gguf.file_types import FILE_TYPES
from llamafile.quantize_mixes import MIXES
from tests.oracles import llama_cpp
from tests.weights import Unavailable

from .conftest import HERE

NUMBERS = {name: number for number, name in FILE_TYPES.items()}


def craft(path, arch="llama", layers=8, width=256, ff=256, heads=8, kv=2, experts=0, tied=False, fused=False, rows=2,
          kind="<f2"):
    """Write a model without vocabulary, its matrices in F16 (or `kind`) with a few rows of the right length."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ff)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_vocab_size(rows)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        plain = len(shape) == 1 or "gate_inp" in name
        writer.add_tensor(name, (rng.standard_normal(shape) * 0.02).astype("<f4" if plain else kind))

    tensor("token_embd.weight", rows, width)
    tensor("output_norm.weight", width)
    if not tied:
        tensor("output.weight", rows, width)
    matrices = ["attn_qkv"] if fused else ["attn_q", "attn_k", "attn_v"]
    kinds = "_exps" if experts else ""
    for i in range(layers):
        tensor(f"blk.{i}.attn_norm.weight", width)
        tensor(f"blk.{i}.ffn_norm.weight", width)
        for name in (*matrices, "attn_output", *(["ffn_gate_inp"] if experts else [])):
            tensor(f"blk.{i}.{name}.weight", rows, width)
        for name, length in (("ffn_gate", width), ("ffn_up", width), ("ffn_down", ff)):
            tensor(f"blk.{i}.{name}{kinds}.weight", *([experts] if experts else []), rows, length)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def formats(path):
    """The format of each tensor by name."""
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def contents(path):
    """Each tensor as float32 by name."""
    return {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            for tensor in gguf.GGUFReader(path).tensors}


@pytest.fixture
def small(tmp_path):
    """A model of two layers in F16."""
    return craft(tmp_path / "small.gguf", layers=2, rows=64)


@pytest.mark.parametrize("model", [
    {"layers": 24}, {"kv": 8, "tied": True, "layers": 17}, {"width": 96, "ff": 160, "heads": 4, "layers": 16},
    {"width": 48, "ff": 80, "heads": 4, "layers": 3}, {"experts": 8}, {"experts": 4}, {"layers": 80},
    {"arch": "phi3", "fused": True, "layers": 16},
], ids=["grouped", "tied", "narrow", "odd", "mixtral", "experts", "70b", "fused"])
def test_every_mix_is_llama_cpps(model, tmp_path, capsys):
    try:
        folder = llama_cpp.ensure()
    except Unavailable as problem:
        pytest.skip(str(problem))
    source, target = craft(tmp_path / "in.gguf", **model), str(tmp_path / "out.gguf")
    command = [sys.executable, "-m", "tests.quants.quantize_worker", str(folder), source, target]
    done = subprocess.run([*command, *(f"{NUMBERS[kind]}:0:0" for kind in MIXES)], capture_output=True, text=True,
                          cwd=HERE.parents[1])
    assert not done.returncode, done.stdout[-500:] + done.stderr[-500:]
    for kind in MIXES:
        quantize.main([source, target, kind, "1"])
        assert formats(target) == formats(f"{target}.{NUMBERS[kind]}"), kind


def test_contents_keys_and_message(small, tmp_path, capsys):
    target = str(tmp_path / "out.gguf")
    assert quantize.main([small, target, "q4_k_m"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{target}: ")
    assert "bits a weight" in said.err
    before, after = gguf.GGUFReader(small), gguf.GGUFReader(target)
    keys = {name: field.contents() for name, field in after.fields.items() if not name.startswith("GGUF.")}
    old = {name: field.contents() for name, field in before.fields.items() if not name.startswith("GGUF.")}
    assert keys == old | {"general.file_type": 15, "general.quantization_version": 2}
    assert [t.name for t in after.tensors] == [t.name for t in before.tensors]
    assert [t.shape.tolist() for t in after.tensors] == [t.shape.tolist() for t in before.tensors]
    was, now = contents(small), contents(target)
    for name, kind in formats(target).items():
        assert np.sqrt(((now[name] - was[name]) ** 2).mean() / (was[name] ** 2).mean()) < {"F32": 1e-30}.get(kind, 0.09)


def test_threads_change_nothing(tmp_path):
    source = craft(tmp_path / "in.gguf", layers=1, width=512, rows=1500)
    written = []
    for threads in ("1", "3", "7"):
        quantize.main([source, str(tmp_path / "out.gguf"), "Q5_K_S", threads])
        written.append((tmp_path / "out.gguf").read_bytes())
    assert len(set(written)) == 1


def test_plain_formats_and_back(small, tmp_path):
    """F16 → F32 → F16 and F16 → BF16 round as numbers do."""
    up, down, half = (str(tmp_path / name) for name in ("f32.gguf", "f16.gguf", "bf16.gguf"))
    quantize.main([small, up, "F32"])
    quantize.main([up, down, "1"])
    quantize.main([small, half, "BF16"])
    assert set(formats(up).values()) == {"F32"}
    assert set(formats(half).values()) == {"F32", "BF16"}
    was = contents(small)
    for name, value in contents(down).items():
        assert (value == was[name]).all()
        assert (contents(up)[name] == was[name]).all()
        assert abs(contents(half)[name] - was[name]).max() <= abs(was[name]).max() / 256


def test_copy_is_the_same_model(small, tmp_path):
    target = str(tmp_path / "out.gguf")
    quantize.main([small, target, "COPY"])
    assert formats(target) == formats(small)
    assert all((value == contents(small)[name]).all() for name, value in contents(target).items())
    assert gguf.GGUFReader(target).fields["general.file_type"].contents() == 1
    assert "general.quantization_version" not in gguf.GGUFReader(target).fields


def test_switches(small, tmp_path):
    target = str(tmp_path / "out.gguf")
    quantize.main(["--pure", small, target, "Q4_K_M"])
    assert set(formats(target).values()) == {"F32", "Q4_K"}
    quantize.main(["--leave-output-tensor", small, target, "Q4_0"])
    assert (formats(target)["output.weight"], formats(target)["token_embd.weight"]) == ("F16", "Q4_0")
    quantize.main(["--output-tensor-type", "q5_1", "--token-embedding-type", "F16", small, target, "Q4_0"])
    assert (formats(target)["output.weight"], formats(target)["token_embd.weight"]) == ("Q5_1", "F16")


def test_words(small, tmp_path):
    quantize.main([small, "Q4_K"])
    made = tmp_path / "ggml-model-Q4_K_M.gguf"
    assert gguf.GGUFReader(made).fields["general.file_type"].contents() == 15
    quantize.main([small, "7", "2"])
    assert formats(tmp_path / "ggml-model-Q8_0.gguf")["output.weight"] == "Q8_0"


def test_quantized_input_needs_consent(small, tmp_path):
    middle, target = str(tmp_path / "middle.gguf"), tmp_path / "out.gguf"
    quantize.main([small, middle, "Q8_0"])
    with pytest.raises(LlamafileError, match=r"middle.gguf: tensor .* is Q8_0 already.*--allow-requantize"):
        quantize.main([middle, str(target), "Q4_0"])
    assert not target.exists()
    quantize.main(["--allow-requantize", middle, str(target), "Q4_0"])
    assert formats(target)["blk.0.attn_q.weight"] == "Q4_0"
    quantize.main([middle, str(target), "Q8_0"])
    assert formats(target) == formats(middle)


@pytest.mark.parametrize(("words", "said"), [
    ([], "IN"), (["x.gguf"], "type is missing"), (["x.gguf", "y.gguf"], "y.gguf is no type"),
    (["x.gguf", "y.gguf", "Q9"], "Q9 is no type"), (["x.gguf", "y.gguf", "IQ2_XXS"], "IQ2_XXS is no type"),
    (["x.gguf", "y.gguf", "Q4_0", "none"], "none is no number"), (["x.gguf", "y.gguf", "Q4_0", "0"], "0 is no number"),
    (["x.gguf", "y.gguf", "Q4_0", "2", "3"], "2 3 is no number"), (["--imatrix", "f", "x.gguf", "Q4_0"], "--imatrix"),
    (["--output-tensor-type", "iq2_xxs", "x", "Q4_0"], "iq2_xxs is no format"),
    (["missing.gguf", "Q4_0"], "missing.gguf"),
])
def test_wrong_words(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LlamafileError) as caught:
        quantize.main(words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_broken_numbers_are_named(tmp_path):
    source = craft(tmp_path / "in.gguf", layers=1, rows=5, kind="<f4")
    place = next(t.data_offset for t in gguf.GGUFReader(source).tensors if t.name == "blk.0.ffn_up.weight")
    with open(source, "r+b") as file:
        file.seek(place + 4 * (256 * 3 + 17))
        file.write(np.array([np.nan], "<f4").tobytes())
    with pytest.raises(LlamafileError, match=r"ffn_up\.weight has nan in row 3, column 17, which Q4_0 cannot hold"):
        quantize.main([source, str(tmp_path / "out.gguf"), "Q4_0"])
    assert os.listdir(tmp_path) == ["in.gguf"]


def test_output_may_not_be_the_input(small, tmp_path):
    link = tmp_path / "link.gguf"
    link.symlink_to(small)
    before = (tmp_path / "small.gguf").read_bytes()
    for target in (small, str(link)):
        with pytest.raises(LlamafileError, match="is the input too"):
            quantize.main([small, target, "Q4_0"])
    assert (tmp_path / "small.gguf").read_bytes() == before

"""Models whose matrices are laid out: only the bytes' order and the ids change; the way back gives the very file."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from llamafile.errors import LlamafileError
from llamafile.gguf import layout
from llamafile.gguf.reader import open_path
from runtime.quants import BY_ID, FORMATS
from tests.quants.cases import QUANTS, in_panels, random_blocks
from tests.weights import MODELS, Unavailable, fetch

from .craft import craft

KEYS = [("general.architecture", 8, "llama"), ("general.name", 8, "rows")]


def tensors():
    """Matrices of every block format in several shapes, with vectors and floats between them."""
    made = []
    for format in QUANTS:
        for rows in ((16,), (64,), (24,), (), (16, 3)):
            count = int(np.prod(rows))
            raw = random_blocks(format, 3 * count, seed=count)
            name, ne = f"{format.name}.{'x'.join(map(str, rows))}", (3 * format.block, *rows)
            made.append((name, format.id, ne, raw.tobytes()))
        made.append((f"{format.name}.norm", 0, (32,), bytes(range(128))))
    return made


def rewritten(source, target, lay):
    """Write a file's other form; returns the target."""
    with open_path(source) as file, open(target, "wb") as out:
        for chunk in layout.file_bytes(file, 0, lay):
            out.write(chunk)
    return target


@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_becomes_of_a_file(tmp_path, version, monkeypatch):
    monkeypatch.setattr(layout, "PIECE", 2000)  # several pieces a tensor
    given = tensors()
    plain = tmp_path / "plain.gguf"
    plain.write_bytes(craft(KEYS, given, version=version))
    laid = rewritten(plain, tmp_path / "laid.gguf", True)
    assert laid.stat().st_size == plain.stat().st_size
    with open_path(plain) as before, open_path(laid) as after:
        assert after.keys == before.keys and list(after.tensors) == list(before.tensors)
        for name, id, ne, raw in given:
            tensor, form = after.tensors[name], BY_ID[id]
            assert (tensor.ne, tensor.offset, tensor.nbytes) == (ne, before.tensors[name].offset, len(raw))
            data = bytes(after.mappings[0].view[tensor.offset : tensor.offset + tensor.nbytes])
            if form.group and len(ne) > 1 and ne[1] % 16 == 0:
                assert BY_ID[tensor.type] is FORMATS[form.name + "_r16"]
                rows = int(np.prod(ne[1:]))
                want = in_panels(form, np.frombuffer(raw, "u1").reshape(-1, form.size), rows)
                assert data == want.tobytes(), name
            else:
                assert tensor.type == id and data == raw
            after.need_tensor(name)
    back = rewritten(laid, tmp_path / "back.gguf", False)
    assert back.read_bytes() == plain.read_bytes()
    assert rewritten(plain, tmp_path / "same.gguf", False).read_bytes() == plain.read_bytes()
    assert rewritten(laid, tmp_path / "again.gguf", True).read_bytes() == laid.read_bytes()


@pytest.mark.parametrize("ne, said", [((96, 24), "has 24 rows, no multiple of the 16 in a panel of Q4_0_R16"),
                                      ((96,), "has 1 rows"), ((96, 8, 2), "has 8 rows"), ((80, 16), "rows of 80")])
def test_bad_sizes(tmp_path, ne, said):
    path = tmp_path / "bad.gguf"
    path.write_bytes(craft(KEYS, [("w", FORMATS["q4_0_r16"].id, ne, bytes(54 * 24))]))
    with pytest.raises(LlamafileError, match=said):
        open_path(path)


def test_a_tensor_that_is_cut_off(tmp_path):
    path = tmp_path / "short.gguf"
    path.write_bytes(craft(KEYS, [("w", FORMATS["q8_0_r16"].id, (96, 16), bytes(34 * 3 * 16))])[:-1])
    with pytest.raises(LlamafileError, match="the file at"):
        open_path(path)


def test_tensors_that_share_bytes(tmp_path):
    path = tmp_path / "shared.gguf"
    pair = [(name, 8, (32, 16), bytes(544)) for name in "ab"]
    path.write_bytes(craft(KEYS, pair, offsets=[0, 512]))
    with open_path(path) as file, pytest.raises(LlamafileError, match="tensors a and b share bytes"):
        list(layout.file_bytes(file, 0, True))


def test_another_program_refuses_it(tmp_path):
    import gguf

    path = tmp_path / "laid.gguf"
    path.write_bytes(craft(KEYS, [("w", FORMATS["q4_0_r16"].id, (96, 16), bytes(54 * 16))]))
    with pytest.raises(ValueError, match=r"2050.* is not a valid GGMLQuantizationType"):
        gguf.GGUFReader(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(
            file.read()).hexdigest()  # fmt: skip


@pytest.mark.parametrize("name", ["smollm2", "qwen0.5b"])
def test_a_real_model_comes_back_bit_for_bit(tmp_path, name):
    try:
        source = fetch(name)
    except Unavailable as problem:
        pytest.skip(str(problem))
    laid = rewritten(source, tmp_path / "laid.gguf", True)
    with open_path(laid) as file:
        forms = {title: BY_ID[t.type] for title, t in file.tensors.items()}
        changed = sum(t.nbytes for title, t in file.tensors.items() if forms[title].plain)
        assert changed > 0.95 * sum(t.nbytes for t in file.tensors.values())
    assert digest(laid) != MODELS[name].sha256
    assert digest(rewritten(laid, tmp_path / "back.gguf", False)) == MODELS[name].sha256
    assert struct.unpack("<4sI", laid.read_bytes()[:8])[0] == b"GGUF"

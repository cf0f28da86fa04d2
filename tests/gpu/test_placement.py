"""Layers on cards whose kernels are the CPU's: whatever is placed where, every bit of the logits stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamafile.budget import cumulative
from llamafile.errors import LlamafileError
from llamafile.offload import Offload
from tests.engine import opened
from tests.gpu import modules
from tests.oracles import tiny, tiny_gguf

IDS = tiny.tokens(100)
NAMES = ("llama3", "llama-bias", "mixtral", "qwen3", "gemma3")


@pytest.fixture(scope="module")
def module():
    return modules.test_module()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("placement")
    return {name: tiny_gguf.write(tiny.MODELS[name], folder / f"{name}.gguf") for name in NAMES}


def texts(path, offload=None, ids=IDS, step=33, **options):
    """f32[n, vocabulary]: prompts in pieces and then token by token."""
    with opened.model(path, offload=offload) as model, \
            opened.session(model, 128, n_batch=64, all_logits=True, **options) as session:  # fmt: skip
        head = opened.feed(session, ids[:70], step)
        return np.concatenate([head, opened.feed(session, ids[70:], 1)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [1, 2, 999])
@pytest.mark.parametrize("cards", [1, 2])
@pytest.mark.parametrize("keep_cache", [False, True])
def test_bits_are_the_same_wherever_layers_lie(module, files, monkeypatch, name, layers, cards, keep_cache):
    monkeypatch.setenv("LF_TEST_CARDS", str(cards))
    kind = ("q8_0", "f16") if name == "qwen3" else ("f16", "f16")
    calls = modules.Calls(module)
    calls.taken()
    there = texts(files[name], modules.offload(module, layers, cache_on_cpu=keep_cache), cache_types=kind)
    assert calls.taken()["runs"] >= 33
    assert np.array_equal(there, texts(files[name], cache_types=kind))


@pytest.mark.parametrize("experts", [1, 99])
def test_experts_stay_with_the_cpu(module, files, experts):
    offload = modules.offload(module, 999, cpu_experts=experts)
    assert np.array_equal(texts(files["mixtral"], offload), texts(files["mixtral"]))
    with opened.model(files["mixtral"], offload=modules.offload(module, 999, cpu_experts=experts)) as model, \
            opened.session(model, 128) as session:  # fmt: skip
        image = session._program.image
        there = {(mapping, offset) for mapping, offset, _ in image.device_weights[1]}
        here = [t for name, t in model.file.tensors.items() if "_exps" in name and (t.mapping, t.offset) not in there]
        assert len(here) == 3 * min(experts, 2)
        assert len(image.segments) == (2 * min(experts, 2) + 1) * 20


def test_holes_run_on_the_cpu(module, files, monkeypatch):
    for holes in ("attention", "rms_norm,add_rms_norm", "matmul", "rotation", "store", "swiglu,embed,take_rows"):
        monkeypatch.setenv("LF_TEST_HOLES", holes)
        if holes == "matmul":  # seven a layer
            with pytest.raises(LlamafileError, match="no kernels for matmul"):
                texts(files["llama3"], modules.offload(module, 2, named=True))
        lines = []
        there = texts(files["llama3"], modules.offload(module, 2, note=lines.append))
        assert np.array_equal(there, texts(files["llama3"])), holes
        assert len(lines) == (holes == "matmul")


def test_a_decoding_step_is_one_upload_one_run_one_download(module, smollm2):
    calls = modules.Calls(module)
    with opened.model(smollm2, offload=modules.offload(module, 999)) as model, \
            opened.session(model, 256, n_batch=64) as session:  # fmt: skip
        session.sync(IDS[:40])
        session.append([5])
        calls.taken()
        for token in range(60, 80):
            session.append([token])
            assert {**calls.taken(), "up": 0} == {"uploads": 1, "runs": 1, "downloads": 1, "up": 0,
                                                  "down": 4 * model.n_vocab, "numbered": 1}  # fmt: skip
        for token in range(60, 80):  # from here on one more page: the table of pages is sent once
            session.append([token])
        assert calls.taken()["uploads"] <= 21


def test_pages_of_brought_weights_are_let_go(module, smollm2):
    """What a card has is not held in memory a second time."""
    held = {}
    for layers in (0, 999):
        with opened.model(smollm2, offload=modules.offload(module, layers) if layers else None) as model, \
                opened.session(model, 128) as session:  # fmt: skip
            session.sync(IDS[:20])
            held[layers] = resident(model.file.mappings[0].address)
    assert held[0] > 50 << 20
    assert held[999] < held[0] / 4


def resident(address):
    """Bytes of the mapping at an address that lie in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if "-" in (span := line.split()[0]) and ":" not in span:
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= address < last:
                return int(next(ln for ln in lines if ln.startswith("Rss:")).split()[1]) << 10
    raise AssertionError("no such mapping")


def test_shift_and_files_work_where_the_cache_is_a_cards(module, files, tmp_path):
    for offload in (None, modules.offload(module, 1), modules.offload(module, 999)):
        with opened.model(files["llama3"], offload=offload) as model:
            with opened.session(model, 128) as session:
                session.sync(IDS[:80])
                session.save(tmp_path / "kept")
                session.shift(4, 40)
                session.append(IDS[80:90])
                shifted = opened.rows(session)[0]
            with opened.session(model, 128) as session:
                session.load(tmp_path / "kept")
                session.append(IDS[80:90])
                loaded = opened.rows(session)[0]
        if offload is None:
            first = shifted, loaded
        assert np.array_equal(shifted, first[0])
        assert np.array_equal(loaded, first[1])


def test_as_many_layers_as_fit(module, files, monkeypatch):
    """The needed memory is counted before it is taken, and what was counted is what is taken."""
    lines = []
    counts = []
    for memory in (40 << 20, 3 << 20, 2 << 20, 1 << 10):
        monkeypatch.setenv("LF_TEST_MEMORY", str(memory))
        offload = modules.offload(module, None, spare=0, note=lines.append)
        texts(files["llama3"], offload)
        counts.append(offload.count)
    assert counts[0] == tiny.MODELS["llama3"].layers + 1
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    assert "no room" in lines[-1]


def test_too_many_layers_name_the_number_to_try(module, smollm2, monkeypatch):
    monkeypatch.setenv("LF_TEST_MEMORY", str(60 << 20))
    says = r"-ngl 999: \d+ MiB .* Test card 0, 60 MiB are free; try -ngl \d+"
    with opened.model(smollm2, offload=modules.offload(module, 999, spare=0)) as model:
        with pytest.raises(LlamafileError, match=says) as told:
            model.session(512)
        count = int(str(told.value).split("try -ngl ")[1].split(",")[0])
    assert 5 < count < 30
    with opened.model(smollm2, offload=modules.offload(module, count, spare=0)) as model, \
            opened.session(model, 512) as session:  # fmt: skip
        session.sync([1, 2, 3])
    one_more = modules.offload(module, count + 1, spare=0)
    with opened.model(smollm2, offload=one_more) as model, pytest.raises(LlamafileError):
        model.session(512)


def test_shares_of_cards():
    assert cumulative((3, 1), 2) == [0.75, 1.0]
    assert cumulative((1,), 3) == [1.0, 1.0, 1.0]
    with pytest.raises(LlamafileError, match="tensor-split"):
        cumulative((0, 0), 2)
    offload = Offload([])
    offload.total, offload._cuts = 8, [0.75, 1.0]
    offload._weights = [{}, {}]
    assert offload.devices(8) == [1] * 6 + [2, 2, 0]
    assert offload.devices(9) == [1] * 7 + [2, 2]
    assert offload.devices(4) == [0] * 4 + [1, 1, 1, 2, 0]
    assert offload.devices(999) == offload.devices(9)


def test_a_card_that_stops_is_one_line(module, files, monkeypatch):
    with opened.model(files["llama3"], offload=modules.offload(module, 2)) as model, \
            opened.session(model, 128) as session:  # fmt: skip
        session.sync(IDS[:5])
        monkeypatch.setenv("LF_TEST_FAULT", "run")
        with pytest.raises(Exception, match="the card stopped"):
            session.append([5])

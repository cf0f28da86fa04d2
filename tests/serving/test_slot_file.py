"""A slot goes into a file and comes back, also into another process; what is wrong with a file is one line."""

from __future__ import annotations

import io

import pytest

from llamafile.errors import LlamafileError
from llamafile.serving import Refused, Request
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

LONG = tiny.tokens(200)
ASK = Request(LONG, driving.warm(4, ignore_eos=True), n_predict=10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_gguf.write(tiny.MODELS["llama3"], tmp_path_factory.mktemp("slots") / "model.gguf", "Q4_0")
    with opened.model(path) as owner:
        yield owner


@pytest.fixture
def pair(model):
    """A scheduler that has answered at slot 0, and an empty one, both with their threads."""
    made = [driving.Scheduler(model, driving.Settings(n_ctx=512, n_parallel=2)) for _ in range(2)]
    client = driving.Client(made[0], ASK)
    while client.end is None:
        made[0].turn()
    for one in made:
        one.start()
        assert one.ready.wait(300)
    yield made[0], made[1], client.result
    for one in made:
        one.close()


def ask(scheduler, request):
    import queue

    items: queue.Queue = queue.Queue()
    scheduler.submit(request, items.put)
    while type(item := items.get(timeout=300)).__name__ == "Delta":
        pass
    return item


def test_there_and_back(pair, tmp_path):
    full, empty, first = pair
    saved = full.save(0, tmp_path / "slot")
    assert saved["n_saved"] == 209  # the last token of the answer was never computed
    assert saved["n_written"] == (tmp_path / "slot").stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["slot"]
    loaded = empty.load(1, tmp_path / "slot")
    assert (loaded["id_slot"], loaded["n_restored"], loaded["n_read"]) == (1, 209, saved["n_written"])
    again = ask(empty, ASK)
    assert (again.tokens, again.tokens_cached, again.id_slot) == (first.tokens, 199, 1)
    assert again.tokens_cached > 0 == first.tokens_cached


def test_open_files_serve_as_well(pair):
    full, empty, _ = pair
    file = io.BytesIO()
    full.save(0, file)
    file.seek(0)
    empty.load(0, file)
    assert ask(empty, ASK).tokens_cached == 199


def test_erase(pair):
    full, empty, _ = pair
    assert full.erase(0) == {"id_slot": 0, "n_erased": 209}
    assert full.tree.idle == 0
    assert ask(full, ASK).tokens_cached == 0
    assert empty.erase(0) == {"id_slot": 0, "n_erased": 0}
    other = ask(full, Request(LONG[:150], ASK.params, n_predict=1, id_slot=1))
    assert other.id_slot == 1
    full.erase(0)
    assert ask(full, Request(LONG[:150], ASK.params, n_predict=1, id_slot=1)).tokens_cached == 149  # slot 1 kept it


@pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "magic", "foreign", "tokens", "empty"])
def test_a_damaged_file_changes_nothing(pair, damage):
    full, empty, _ = pair
    file = io.BytesIO()
    full.save(0, file)
    raw = file.getvalue()
    raw = {
        "cut": raw[:-100], "longer": raw + b"x", "flipped": raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:],
        "magic": b"x" + raw[1:], "foreign": raw[:9] + bytes([raw[9] ^ 1]) + raw[10:],
        "tokens": raw[:40] + b"\xff" * 8 + raw[48:], "empty": b"",
    }[damage]
    before = full.slots()[0], full.tree.idle
    with pytest.raises(LlamafileError) as caught:
        full.load(0, io.BytesIO(raw))
    assert "\n" not in str(caught.value)
    assert (full.slots()[0], full.tree.idle) == before
    assert ask(full, ASK).tokens_cached == 199
    with pytest.raises(LlamafileError):
        empty.load(0, io.BytesIO(raw))
    assert len(empty.tree.free) == empty.tree.count


def test_other_models_busy_slots_and_missing_files(pair, tmp_path):
    full, _, _ = pair
    other = driving.Scheduler(full.model, driving.Settings(n_ctx=512, cache_types=("f32", "f32")))
    full.save(0, tmp_path / "slot")
    other.start()
    with pytest.raises(LlamafileError, match="another model or cache format"):
        other.load(0, tmp_path / "slot")
    other.close()
    small = driving.Scheduler(full.model, driving.Settings(n_ctx=100))
    small.start()
    with pytest.raises(LlamafileError, match="holds 209 tokens"):
        small.load(0, tmp_path / "slot")
    small.close()
    with pytest.raises(LlamafileError, match="No such file"):
        full.load(0, tmp_path / "none")
    with pytest.raises(LlamafileError, match="cannot be written"):
        full.save(0, tmp_path / "no" / "slot")
    with pytest.raises(Refused, match="no slot 2"):
        full.save(2, tmp_path / "slot")
    endless = Request(LONG[:5], ASK.params, id_slot=0, context_shift=True)
    ticket = full.submit(endless, lambda item: None)
    try:
        with pytest.raises(Refused, match="busy"):
            while True:
                full.erase(0)
    finally:
        ticket.cancel()

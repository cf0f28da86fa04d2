"""A full context: the older half goes as in a session's shift, also over shared cells, or the answer ends."""

from __future__ import annotations

import pytest

from llamafile.sampling import Params
from llamafile.serving import Refused, Request
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

CTX = 192
LONG = tiny.tokens(200)


@pytest.fixture(scope="module", params=["gemma3", "qwen3"])
def model(request, tmp_path_factory):
    path = tiny_gguf.write(tiny.MODELS[request.param], tmp_path_factory.mktemp("shift") / "model.gguf", "Q8_0")
    with opened.model(path) as owner:
        yield owner


def ask(prompt, seed=1, **fields):
    return Request(prompt, driving.warm(seed, ignore_eos=True), context_shift=True, n_predict=250, **fields)


@pytest.mark.parametrize("keep", [0, 5, 64, -1])
@pytest.mark.parametrize("cache", [("f16", "f16"), ("q8_0", "q4_0")])
def test_equals_a_sessions_shift(model, keep, cache):
    request = ask(LONG[:150], n_keep=keep)
    with driving.scheduler(model, n_ctx=CTX, n_parallel=1, n_ubatch=20, cache_types=cache) as made:
        result, = driving.run(made, request)
    assert result.truncated
    assert result.tokens == driving.alone(model, request, CTX, cache)


def test_shared_cells_are_not_touched(model):
    """One that shifts shares its beginning with others that run, that wait in the tree, and that come later."""
    asked = [ask(LONG[:150], seed, n_keep=20) for seed in (1, 2)]
    short = Request(LONG[:160], driving.warm(3, ignore_eos=True), n_predict=30)
    with driving.scheduler(model, n_ctx=3 * CTX, n_parallel=3, kv_unified=False) as made:
        assert made.n_ctx == CTX
        first = driving.run(made, *asked, short)
        assert driving.run(made, short)[0].tokens == first[2].tokens
    assert [result.tokens for result in first[:2]] == [driving.alone(model, request, CTX) for request in asked]
    assert first[2].tokens == driving.alone(model, short, CTX)


def test_who_shifted_and_had_to_wait_goes_on_the_same(model):
    """Pages run out after the youngest shifted: it begins again, shifts as before, and nobody sees it."""
    asked = [ask(LONG[3:4], 1, n_keep=10), ask(LONG[:190], 2, n_keep=10)]
    late = Request(LONG[50:180], driving.warm(9, ignore_eos=True), n_predict=40)
    with driving.scheduler(model, n_ctx=CTX, n_parallel=2) as made:
        clients = [driving.Client(made, request) for request in asked]
        shifted, begun_again = False, False
        while any(client.end is None for client in clients):
            made.turn()
            for sequence in made.places.sequences():
                shifted |= bool(sequence.shifts)
                begun_again |= bool(sequence.pending)
        assert shifted
        assert begun_again
        assert [client.result.tokens for client in clients] == [driving.alone(model, r, CTX) for r in asked]
        assert driving.run(made, late)[0].tokens == driving.alone(model, late, CTX)


def test_without_shift_the_answer_ends(model):
    request = Request(LONG[:150], driving.warm(1, ignore_eos=True))
    with driving.scheduler(model, n_ctx=CTX) as made:
        result, = driving.run(made, request)
        assert (result.stop_type, result.truncated) == ("limit", True)
        assert result.tokens == driving.alone(model, request, CTX)
        assert len(result.tokens) == CTX - 150 + 1


def test_a_prompt_that_does_not_fit_is_refused(model):
    with driving.scheduler(model, n_ctx=CTX) as made:
        with pytest.raises(Refused) as refused:
            made.submit(Request(LONG[:CTX], Params()), lambda item: None)
        assert (refused.value.code, refused.value.type) == (400, "exceed_context_size_error")
        assert refused.value.fields == {"n_prompt_tokens": CTX, "n_ctx": CTX}
        assert driving.run(made, Request(LONG[: CTX - 1], Params(temperature=0.0), n_predict=1))[0].tokens

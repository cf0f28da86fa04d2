"""Common beginnings are computed once: one after the other, at the same time, and down to the token."""

from __future__ import annotations

import pytest

from llamafile.sampling import Params
from llamafile.serving import Request
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

GREEDY = Params(temperature=0.0, ignore_eos=True)
HEAD = tiny.tokens(220)  # three pages and 28 tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_gguf.write(tiny.MODELS["qwen2"], tmp_path_factory.mktemp("prefix") / "model.gguf", "Q8_0")
    with opened.model(path) as owner:
        yield owner


def ask(tail=(), n_predict=4, **fields):
    return Request([*HEAD, *tail], GREEDY, n_predict=n_predict, **fields)


def computed(result):
    return result.tokens_evaluated - result.tokens_cached


def test_one_after_the_other(model):
    with driving.scheduler(model, n_ctx=1024) as made:
        rows = driving.Rows(made)
        first, = driving.run(made, ask([5, 6, 7]))
        assert (first.tokens_cached, first.tokens_evaluated, rows.total) == (0, 223, 223 + 3)
        second, = driving.run(made, ask([8, 9, 10, 11]))
        assert (second.tokens_cached, second.tokens_evaluated, rows.total) == (220, 224, 226 + 4 + 3)
        # A conversation: the whole answer is there but for its last token, which was never computed.
        third, = driving.run(made, ask([8, 9, 10, 11, *second.tokens, 12]))
        assert third.tokens_cached == 224 + 3
        assert third.timings["cache_n"] == 227
        assert third.timings["prompt_n"] == 2
        same, = driving.run(made, ask([5, 6, 7]))
        assert same.tokens_cached == 222  # the last token is computed: its logits are wanted
        assert same.tokens == first.tokens


@pytest.mark.parametrize("n_ubatch", [8, 64, 100, 512])
def test_at_the_same_time(model, n_ubatch):
    """Six that arrive at once compute their common beginning once, whatever the chunks."""
    tails = [[20 + i, 5, 6] for i in range(6)]
    with driving.scheduler(model, n_ctx=2048, n_parallel=6, n_ubatch=n_ubatch) as made:
        rows = driving.Rows(made)
        results = driving.run(made, *(ask(tail) for tail in tails))
        assert rows.total <= len(HEAD) + 6 * (3 + 3)
        assert [computed(result) for result in results[1:]] == [3] * 5
        for tail, result in zip(tails, results, strict=True):
            assert result.tokens == driving.alone(model, ask(tail), 512)


def test_while_the_first_still_runs(model):
    with driving.scheduler(model, n_ctx=2048, n_ubatch=32) as made:
        first = driving.Client(made, ask([5], n_predict=60))
        made.turn()
        second = driving.Client(made, ask([6], n_predict=60))  # while the prompt is being read
        while not first.deltas:
            made.turn()
        third = driving.Client(made, ask([5, *first.deltas[0].tokens, 7]))  # while the answer is being written
        driving.finish(made, [first, second, third])
        assert second.result.tokens_cached == 220
        assert third.result.tokens_cached >= 221


def test_who_is_followed_may_be_cancelled(model):
    with driving.scheduler(model, n_ctx=2048, n_ubatch=16) as made:
        first, second = driving.Client(made, ask([5])), driving.Client(made, ask([6]))
        for _ in range(3):
            made.turn()
        first.ticket.cancel()
        driving.finish(made, [first, second])
        assert first.result.stop_type == "cancel"
        assert second.result.tokens == driving.alone(model, ask([6]), 512)
        assert second.result.tokens_cached == 48  # what the first had computed


def test_cache_prompt_off_computes_everything(model):
    with driving.scheduler(model, n_ctx=1024) as made:
        first, = driving.run(made, ask([5]))
        rows = driving.Rows(made)
        second, = driving.run(made, ask([5], cache_prompt=False))
        assert (second.tokens_cached, rows.total) == (0, 221 + 3)
        assert second.tokens == first.tokens
    with driving.scheduler(model, n_ctx=1024, cache_prompt=False) as made:
        driving.run(made, ask([5]))
        assert driving.run(made, ask([5]))[0].tokens_cached == 0


def test_equal_pages_are_kept_once(model):
    """The same text computed twice, without looking at what is there, takes the cells of one."""
    with driving.scheduler(model, n_ctx=1024) as made:
        driving.run(made, ask(cache_prompt=False))
        idle = made.tree.idle
        driving.run(made, *(ask(cache_prompt=False) for _ in range(3)))
        assert made.tree.idle <= idle + 3  # each left its last page, which is not full


def test_the_least_recently_used_goes_first(model):
    others = [[1, *range(10 + i, 90)] for i in range(3)]
    with driving.scheduler(model, n_ctx=320, n_parallel=1) as made:
        for prompt in (others[0], others[1], others[0], others[2]):
            driving.run(made, Request(prompt, GREEDY, n_predict=1))
        driving.run(made, Request(HEAD[:150], GREEDY, n_predict=1))  # three pages: one is free
        assert driving.run(made, Request(others[2], GREEDY, n_predict=1))[0].tokens_cached == len(others[2]) - 1
        assert driving.run(made, Request(others[1], GREEDY, n_predict=1))[0].tokens_cached <= 1

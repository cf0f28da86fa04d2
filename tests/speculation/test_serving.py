"""Requests answered together, with guesses that are right and wrong, give the texts of a session that never guesses."""

from __future__ import annotations

import pytest

from llamafile import grammar
from llamafile.sampling import Params
from llamafile.serving import Request
from llamafile.speculation.wishes import Wishes
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving
from tests.speculation.seers import Free, Seer

CTX = 512
LONG = tiny.tokens(400)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guessed")
    return {name: tiny_gguf.write(model, folder / f"{name}.gguf", "Q4_0") for name, model in tiny.MODELS.items()}


@pytest.fixture(scope="module")
def model(files):
    with opened.model(files["llama3"]) as owner:
        yield owner


def guessing(made, futures, wrong=0.15):
    """Have each request's guesses come from its known text (futures: prompt → tokens), some of them wrong."""
    ahead = made._stepper.ahead
    ahead.costs = Free()
    original = ahead._text

    def text(sequence):
        if sequence.text is None:
            future = futures[tuple(sequence.request.prompt), sequence.request.params.seed]
            original(sequence).lookup = Seer(sequence.request.prompt, future, wrong, tiny.VOCAB, sequence.number)
        return original(sequence)

    ahead._text = text


def seen(result):
    """All that a client sees of an answer but its times."""
    return (result.tokens, result.text, result.stop_type, result.stopping_word, result.truncated,
            result.tokens_predicted, result.probs)


def same(model, asked, *, wrong=0.15, **settings):
    """Answer without guesses, one after the other, and with guesses, all at once; returns the guessed results."""
    settings = {"n_ctx": CTX, "n_parallel": 4, **settings}
    with driving.scheduler(model, **settings) as made:
        plain = [driving.run(made, request())[0] for request in asked]
    futures = {(tuple(request().prompt), request().params.seed): result.tokens
               for request, result in zip(asked, plain, strict=True)}
    with driving.scheduler(model, **settings, wishes=Wishes()) as made:
        guessing(made, futures, wrong)
        guessed = driving.run(made, *(request() for request in asked))
        assert made.metrics()["spec_decode_num_accepted_tokens_total"] == sum(
            result.timings.get("draft_n_accepted", 0) for result in guessed)
        assert made.metrics()["spec_decode_num_draft_tokens_total"] == sum(
            result.timings.get("draft_n", 0) for result in guessed)
    assert [seen(result) for result in guessed] == [seen(result) for result in plain]
    return guessed


def asking(prompt, params, **fields):
    return lambda: Request(prompt, params, **fields)


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_every_architecture_alone_and_in_a_batch(files, name, wrong):
    lengths = (1, 63, 64, 65, 130, 300)
    params = [Params(temperature=0.0, ignore_eos=True, seed=1)]
    params += [driving.warm(7 + i, ignore_eos=True) for i in range(4)] + [driving.warm(9, repeat_penalty=1.3)]
    asked = [asking([1, *LONG[i : i + n - 1]], p, n_predict=40)
             for i, (n, p) in enumerate(zip(lengths, params, strict=True))]
    with opened.model(files[name]) as model:
        expected = [driving.alone(model, request(), CTX) for request in asked]
        results = same(model, asked, wrong=wrong, n_parallel=6, n_ctx=4 * CTX)
        assert [result.tokens for result in results] == expected
        longer = [result for result in results if len(result.tokens) > 10]
    assert longer
    for result in longer:
        drafted, accepted = result.timings["draft_n"], result.timings["draft_n_accepted"]
        if wrong:
            assert 0.02 < accepted / drafted < 0.9
        else:
            assert drafted - accepted <= 16  # those behind the end, in the last pass


SAMPLING = {
    "greedy": {"temperature": 0.0},
    "penalties": {"repeat_penalty": 1.4, "presence_penalty": 0.6, "frequency_penalty": 0.3, "repeat_last_n": 20},
    "dry": {"dry_multiplier": 1.5, "dry_allowed_length": 1},
    "mirostat": {"mirostat": 2, "mirostat_tau": 3.0},
    "mirostat 1": {"mirostat": 1},
    "xtc": {"xtc_probability": 0.6, "xtc_threshold": 0.05},
    "bias": {"logit_bias": [(5, 6.0), (7, 6.0), (9, False)]},
    "dynatemp": {"dynatemp_range": 1.0, "top_k": 20, "top_p": 0.9},
}


@pytest.mark.parametrize("kind", SAMPLING)
def test_every_sampler_draws_what_it_would_have_drawn(model, kind):
    params = [driving.warm(seed, ignore_eos=True, **SAMPLING[kind]) for seed in (1, 2, 3)]
    asked = [asking(LONG[: 40 + 20 * i], p, n_predict=60) for i, p in enumerate(params)]
    results = same(model, asked)
    assert sum(result.timings["draft_n_accepted"] for result in results) > 40


def test_probabilities_are_those_of_each_position(model):
    results = same(model, [asking(LONG[:50], driving.warm(1, ignore_eos=True), n_predict=30, n_probs=tiny.VOCAB),
                           asking(LONG[:70], driving.warm(2, top_k=5, ignore_eos=True), n_predict=30, n_probs=5,
                                  post_sampling_probs=True)])
    assert all(len(result.probs) == 30 for result in results)


def test_an_end_token_in_the_middle_of_a_guess(model):
    eog = min(model.tokenizer.eog)
    asked = [asking(LONG[: 30 + i], driving.warm(i, logit_bias=[(eog, 2.5)]), n_predict=80) for i in range(8)]
    results = same(model, asked, wrong=0.0)
    ends = [result for result in results if result.stop_type == "eos"]
    assert len(ends) > 3
    assert any(len(result.tokens) > 8 for result in ends)


def test_a_stop_text_in_the_middle_of_a_guess(model):
    with driving.scheduler(model, n_ctx=CTX) as made:
        text = driving.run(made, Request(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=60))[0].text
    stop = text[20:23]
    result, = same(model, [asking(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=60, stop=[stop])], wrong=0.0)
    assert result.stop_type == "word"
    assert result.text == text[: text.index(stop)]


@pytest.mark.parametrize("limit", range(1, 22))
def test_the_bound_of_tokens_anywhere_in_a_guess(model, limit):
    result, = same(model, [asking(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=limit)], wrong=0.0)
    assert len(result.tokens) == limit
    assert result.timings.get("draft_n", 0) < limit


def test_a_grammar_masks_every_position(model):
    rule = grammar.compile("gbnf", 'root ::= ([a-f] | [0-9])+', model.tokenizer)
    asked = [asking(LONG[: 40 + i], driving.warm(i), n_predict=40, constraint=rule) for i in range(3)]
    results = same(model, asked)
    assert all(set(result.text) <= set("abcdef0123456789") and result.text for result in results)
    assert sum(result.timings["draft_n_accepted"] for result in results) > 20


def test_a_constraint_that_fails_behind_a_guess_breaks_its_answer_alone(model):
    class Breaks:
        finished = False

        def __init__(self):
            self.accepted = 0

        def fill(self, mask):
            for i in range(len(mask)):
                mask[i] = 0xFFFFFFFF
            if self.accepted == 7:
                raise ValueError("no such rule")

        def accept(self, token):
            self.accepted += 1

    request = asking(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=60)
    expected = driving.alone(model, request(), CTX)
    with driving.scheduler(model, n_ctx=CTX, wishes=Wishes()) as made:
        guessing(made, {(tuple(LONG[:50]), 3): expected}, 0.0)
        broken = driving.Client(made, Request(LONG[:50], driving.warm(3, ignore_eos=True), constraint=Breaks()))
        other = driving.Client(made, request())
        for _ in range(200):
            made.turn()
        assert "no such rule" in str(broken.end)
        assert other.result.tokens == expected


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_a_full_context(model, shift, wrong):
    """Guesses end at the last cell; shifts come at the same tokens."""
    asked = [asking(LONG[: 100 + i], driving.warm(i, ignore_eos=True), n_predict=250, context_shift=shift, n_keep=9)
             for i in range(3)]
    results = same(model, asked, wrong=wrong, n_ctx=3 * 192, n_parallel=3, kv_unified=False)
    assert all(result.truncated for result in results)
    assert [result.tokens for result in results] == [driving.alone(model, request(), 192) for request in asked]


@pytest.mark.parametrize("n_ubatch", [4, 9, 512])
def test_too_few_pages_for_all(model, n_ubatch):
    """The youngest give up their pages and compute their tokens again; guesses take nobody's."""
    asked = [asking(LONG[i : i + 60], driving.warm(i, ignore_eos=True), n_predict=150) for i in range(4)]
    results = same(model, asked, n_ctx=256, n_ubatch=n_ubatch)
    assert [result.tokens for result in results] == [driving.alone(model, request(), 256) for request in asked]


def test_what_is_cached_afterwards_is_what_was_accepted(model):
    """A second turn over the first answer finds its cells and goes on the same; nothing of wrong guesses is found."""
    first = asking(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=100)
    tokens = driving.alone(model, first(), CTX)
    second = asking([*LONG[:50], *tokens, *LONG[:5]], driving.warm(4, ignore_eos=True), n_predict=50)
    expected = driving.alone(model, second(), CTX)
    futures = {(tuple(first().prompt), 3): tokens, (tuple(second().prompt), 4): expected}
    with driving.scheduler(model, n_ctx=CTX, wishes=Wishes()) as made:
        guessing(made, futures, 0.4)
        assert driving.run(made, first())[0].tokens == tokens
        result, = driving.run(made, second())
        assert result.tokens == expected
        assert result.tokens_cached == 50 + 99  # the last token's cell was never needed


def test_lookup_itself_with_what_steps_cost(model):
    """Nothing is forced here: repetitive prompts, real costs, real guesses."""
    text = LONG[:20] * 6
    asked = [asking(text[: 100 + i], Params(temperature=0.0, logit_bias=[(5, 3.0)], ignore_eos=True, seed=i),
                    n_predict=120) for i in range(3)]
    expected = [driving.alone(model, request(), CTX) for request in asked]
    with driving.scheduler(model, n_ctx=3 * CTX, wishes=Wishes()) as made:
        results = driving.run(made, *(request() for request in asked))
    assert [result.tokens for result in results] == expected
    assert any(result.timings.get("draft_n_accepted") for result in results)


def test_a_request_may_do_without(model):
    request = asking(LONG[:50], driving.warm(3, ignore_eos=True), n_predict=30, draft_max=0)
    few = asking(LONG[:51], driving.warm(3, ignore_eos=True), n_predict=30, draft_max=2)
    never = asking(LONG[:52], driving.warm(3, ignore_eos=True), n_predict=30, draft_min=17)
    plain, two, none = same(model, [request, few, never], wrong=0.0)
    assert "draft_n" not in plain.timings
    assert "draft_n" not in none.timings
    assert two.timings["draft_n_accepted"] == two.timings["draft_n"] > 15

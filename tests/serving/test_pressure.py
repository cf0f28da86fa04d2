"""A cache too small for all: whoever comes and goes when, every text is the one-session text and no page leaks."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafile.sampling import Params
from llamafile.serving import Request
from llamafile.speculation.wishes import Wishes
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving
from tests.speculation.seers import Free

CTX = 256  # four pages, and one more for each of three slots
LONG = tiny.tokens(260)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_gguf.write(tiny.MODELS["llama"], tmp_path_factory.mktemp("pressure") / "model.gguf", "Q4_0")
    with opened.model(path, n_threads=1) as owner:
        yield owner


KNOWN: dict = {}


def oracle(model, request):
    """What a session alone writes, or an embedding alone is; kept, as few prompts are drawn often."""
    key = (tuple(request.prompt), request.params.seed, request.n_predict, request.context_shift, request.n_keep,
           request.kind, request.pooling)
    if key not in KNOWN and request.kind == "embedding":
        with driving.scheduler(model, n_ctx=CTX, n_parallel=1) as made:
            KNOWN[key] = driving.run(made, request)[0].embedding
    elif key not in KNOWN:
        KNOWN[key] = driving.alone(model, request, CTX)
    return KNOWN[key]


prompts = st.builds(
    lambda head, other, length: [*LONG[:head], *LONG[other : other + length]],
    st.sampled_from([0, 1, 63, 64, 70, 130, 190]), st.integers(0, 3), st.sampled_from([1, 2, 20, 64, 65]),
)
asks = st.builds(
    lambda prompt, seed, n_predict, shift, keep, cache: Request(
        prompt, driving.warm(seed), n_predict=n_predict, context_shift=shift, n_keep=keep, cache_prompt=cache),
    prompts, st.integers(1, 3), st.sampled_from([0, 1, 5, 70, 150, 300]), st.booleans(),
    st.sampled_from([0, 10, 64, 100, -1]), st.booleans(),
)
embeddings = st.builds(lambda prompt, pooling: Request(prompt, kind="embedding", pooling=pooling),
                       prompts, st.sampled_from(["mean", "last"]))
moves = st.lists(st.one_of(
    st.tuples(st.just("submit"), st.one_of(asks, asks, embeddings)), st.tuples(st.just("turn"), st.integers(1, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 5)), st.tuples(st.just("go on"), st.integers(0, 5)),
), min_size=1, max_size=16)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(moves=moves, n_ubatch=st.sampled_from([4, 50, 512]), n_parallel=st.sampled_from([1, 3, 4]),
       size=st.integers(0, 2))
def test_random_comings_and_goings(model, moves, n_ubatch, n_parallel, size):
    """Tokens are guessed ahead, whatever it costs, where `size` of them are alike; never for 0."""
    wishes = Wishes(size > 0, size=size)
    with driving.scheduler(model, n_ctx=CTX, n_parallel=n_parallel, n_ubatch=n_ubatch, wishes=wishes) as made:
        if size:
            made._stepper.ahead.costs = Free()
        clients: list[driving.Client] = []
        cancelled = set()
        for what, value in moves:
            if what == "submit":
                clients.append(driving.Client(made, value))
            elif what == "turn":
                for _ in range(value):
                    made.turn()
            elif clients:
                client = clients[value % len(clients)]
                if what == "cancel" and client.end is None:
                    client.ticket.cancel()
                    cancelled.add(client)
                elif what == "go on" and client.end is not None and client not in cancelled:
                    clients.append(driving.Client(made, longer(client)))
        driving.finish(made, clients)
        for client in clients:
            result, expected = client.result, oracle(model, client.request)
            if client in cancelled:
                assert result.stop_type == "cancel"
                assert result.tokens == expected[: len(result.tokens)]
            else:
                assert (result.embedding or result.tokens) == expected
        check_tree(made)


def longer(client):
    """The conversation of an ended request, one turn further."""
    ids = [*client.request.prompt, *client.result.tokens, 7]
    return Request(ids[: CTX - 1], driving.warm(5), n_predict=20, context_shift=True)


def check_tree(made):
    """Every page is either free or in the tree, once; none is in use; a child follows a full page."""
    seen, stack = list(made.tree.free), [made.tree.root]
    while stack:
        page = stack.pop()
        for first, children in page.children.items():
            for child in children:
                assert child.shared
                assert not child.refs
                assert child.parent is page
                assert child.tokens[0] == first
                assert len(child.tokens) == 64 or not child.children
                seen.append(child.number)
                stack.append(child)
    assert sorted(seen) == list(range(made.tree.count))
    assert made.tree.idle == made.tree.count - len(made.tree.free)


def test_the_youngest_waits_and_goes_on(model):
    """Three answers of 200 tokens do not fit seven pages: the youngest stops, and its text does not show it."""
    asked = [Request(LONG[i : i + 20], driving.warm(i + 1, ignore_eos=True), n_predict=200) for i in range(3)]
    with driving.scheduler(model, n_ctx=CTX, n_parallel=3) as made:
        clients = [driving.Client(made, request) for request in asked]
        order, waited = [], set()
        while any(client.end is None for client in clients):
            made.turn()
            for client in clients:
                if client.end is not None and client not in order:
                    order.append(client)
            waited |= {s.number for s in made.places.sequences() if not s.active}
        assert waited == {2, 3}  # the oldest never does
        assert order == clients
        assert [client.result.tokens for client in clients] == [oracle(model, request) for request in asked]


def test_one_request_may_use_the_whole_context(model):
    with driving.scheduler(model, n_ctx=CTX, n_parallel=3) as made:
        driving.run(made, *(Request(LONG[i : i + 60], Params(temperature=0.0), n_predict=1) for i in range(20)))
        request = Request(LONG[:255], driving.warm(1, ignore_eos=True))
        result, = driving.run(made, request)
        assert result.tokens == oracle(model, request)
        assert len(result.tokens) == 2
        assert (result.stop_type, result.truncated) == ("limit", True)

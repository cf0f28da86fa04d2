"""Bounds and manners: queue, slots, stalls, cancelling, ends of answers, probabilities, draining, sleep."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from llamafile.sampling import Params
from llamafile.serving import Refused, Request, Scheduler, Settings
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

IDS = tiny.tokens(500)
GREEDY = Params(temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tiny_gguf.write(tiny.MODELS["llama"], tmp_path_factory.mktemp("service") / "model.gguf", "Q4_0")
    with opened.model(path) as owner:
        yield owner


def ask(n=5, n_predict=6, **fields):
    return Request(IDS[:n], fields.pop("params", GREEDY), n_predict=n_predict, **fields)


def test_no_stream_stalls(model):
    """While prompts of 400 tokens come in, each step has a row of every running answer and at most n_ubatch in all."""
    with driving.scheduler(model, n_ctx=2048, n_parallel=6, n_ubatch=32) as made:
        streams = [driving.Client(made, ask(3 + i, 100)) for i in range(3)]
        while not all(stream.deltas for stream in streams):
            made.turn()
        rows = driving.Rows(made)
        prompts = [driving.Client(made, Request(IDS[i : i + 400], GREEDY, n_predict=1)) for i in range(1, 4)]
        while any(prompt.end is None for prompt in prompts):
            made.turn()
        running = {client.ticket.number for client in streams}
        for call in rows.calls:
            assert running <= {sequence.number for sequence, _, output in call if output}
            assert sum(count for _, count, _ in call) <= 32
        driving.finish(made, streams)


def test_prompts_take_turns(model):
    """A short prompt that comes after a long one does not wait for all of it."""
    with driving.scheduler(model, n_ctx=2048, n_parallel=4, n_ubatch=16) as made:
        long = driving.Client(made, Request(IDS[:480], GREEDY, n_predict=1))
        made.turn()
        short = driving.Client(made, Request(IDS[1:30], GREEDY, n_predict=1))
        for _ in range(5):
            made.turn()
        assert short.end is not None
        assert long.end is None
        driving.finish(made, [long])


def test_chunks_shrink_while_answers_run(model):
    """What takes long is cut finer where somebody waits for the next token, and only there."""
    with driving.scheduler(model, n_ctx=2048, n_ubatch=256) as made:
        planner = made._stepper.planner
        planner.measure = lambda rows, seconds: None
        planner.rate = 300.0  # rows a second: 60 in 0.2 s
        rows = driving.Rows(made)
        driving.run(made, Request(IDS[:400], GREEDY, n_predict=1))
        assert [call[0][1] for call in rows.calls] == [256, 144]
        stream = driving.Client(made, ask(3, 50))
        made.turn()
        rows.calls.clear()
        driving.run(made, Request(IDS[1:401], GREEDY, n_predict=1))
        assert max(count for call in rows.calls for _, count, _ in call) == 59
        driving.finish(made, [stream])


def test_first_come_first_served(model):
    with driving.scheduler(model, n_ctx=512, n_parallel=1) as made:
        order = []
        for i in range(5):
            made.submit(ask(3 + i, 2), lambda item, i=i: order.append(i) if type(item).__name__ == "Result" else None)
        while len(order) < 5:
            made.turn()
        assert order == list(range(5))


def test_the_queue_is_bounded(model):
    with driving.scheduler(model, n_ctx=512, n_parallel=1, n_queue=3) as made:
        clients = [driving.Client(made, ask()) for _ in range(3)]
        with pytest.raises(Refused) as refused:
            driving.Client(made, ask())
        assert (refused.value.code, refused.value.type) == (503, "unavailable_error")
        assert refused.value.fields == {"retry_after": 1}
        made.turn()
        assert made.metrics()["requests_processing"] == 1
        assert made.metrics()["requests_deferred"] == 2
        clients.append(driving.Client(made, ask()))
        driving.finish(made, clients)


def test_who_waits_for_a_slot_does_not_stop_others(model):
    with driving.scheduler(model, n_ctx=512, n_parallel=2) as made:
        first = driving.Client(made, ask(5, 30, id_slot=1))
        made.turn()
        waiting, other = driving.Client(made, ask(id_slot=1)), driving.Client(made, ask())
        driving.finish(made, [other])
        assert first.end is None
        assert other.result.id_slot == 0
        driving.finish(made, [first, waiting])
        assert waiting.result.id_slot == 1


@pytest.mark.parametrize("when", ["queued", "reading", "writing"])
def test_cancel_within_one_step(model, when):
    with driving.scheduler(model, n_ctx=1024, n_parallel=1, n_ubatch=16) as made:
        other = driving.Client(made, ask(3, 20)) if when == "queued" else None
        client = driving.Client(made, ask(400 if when == "reading" else 5, 100))
        for _ in range(4):
            made.turn()
        rows = driving.Rows(made)
        client.ticket.cancel()
        made.turn()
        assert client.result.stop_type == "cancel"
        assert client.ticket.number not in {sequence.number for call in rows.calls for sequence, _, _ in call}
        client.ticket.cancel()  # once more is nothing
        driving.finish(made, [client, *([other] if other else [])])


def test_a_client_that_is_gone_is_cancelled(model):
    with driving.scheduler(model, n_ctx=512) as made:
        def broken(item):
            raise ConnectionError
        made.submit(ask(5, 400), broken)
        other = driving.Client(made, ask())
        for _ in range(10):
            made.turn()
        assert other.result.tokens == driving.alone(model, ask(), 512)
        assert not made.places.sequences()


@pytest.mark.parametrize(("fields", "words"), [
    ({"prompt": []}, "empty"), ({"prompt": [1, 96]}, "no token 96"), ({"prompt": [-1]}, "no token -1"),
    ({"params": Params(top_p=-1.0)}, "--top-p"), ({"params": Params(logit_bias={96: 1.0})}, "no token 96"),
    ({"kind": "image"}, "kind"), ({"kind": "embedding", "pooling": "rank"}, "pooling"), ({"id_slot": 4}, "no slot 4"),
])
def test_bad_requests(model, fields, words):
    with driving.scheduler(model, n_ctx=512) as made:
        with pytest.raises(Refused, match=words) as refused:
            made.submit(Request(**{"prompt": [1], **fields}), lambda item: None)
        assert (refused.value.code, refused.value.type) == (400, "invalid_request_error")


def test_ends_of_answers(model):
    with driving.scheduler(model, n_ctx=512) as made:
        text = driving.run(made, ask(5, 40))[0].text
        middle = text[len(text) // 2 :][:3]
        stopped, = driving.run(made, ask(5, 40, stop=(middle,)))
        assert (stopped.stop_type, stopped.stopping_word) == ("word", middle)
        assert stopped.text == text[: text.index(middle)]
        bounded, = driving.run(made, ask(5, 7))
        assert (bounded.stop_type, len(bounded.tokens), bounded.truncated) == ("limit", 7, False)
        none, = driving.run(made, ask(5, 0))
        assert (none.stop_type, none.tokens, none.tokens_evaluated) == ("limit", [], 5)
        hurried, = driving.run(made, ask(5, 400, t_max_predict_ms=1))
        assert (hurried.stop_type, len(hurried.tokens) < 400) == ("limit", True)
        eog = min(model.tokenizer.eog)
        ended, = driving.run(made, ask(params=Params(temperature=0.0, logit_bias={eog: 1000.0})))
        assert (ended.stop_type, ended.tokens, ended.tokens_predicted, ended.text) == ("eos", [], 1, "")


class Matcher:
    """A constraint that allows one token after the other."""

    def __init__(self, tokens):
        self.tokens, self.at = tokens, 0

    def matcher(self):
        return Matcher(self.tokens)

    def fill(self, mask):
        for i in range(len(mask)):
            mask[i] = 0
        token = self.tokens[self.at]
        mask[token // 32] |= 1 << token % 32

    def accept(self, token):
        if token != self.tokens[self.at]:
            raise ValueError(f"{token} was not to come")
        self.at += 1

    @property
    def finished(self):
        return self.at == len(self.tokens)


def test_constraints(model):
    wanted = [9, 40, 95, 31, 32]
    with driving.scheduler(model, n_ctx=512) as made:
        free = driving.Client(made, ask(5, 20))
        bound = driving.Client(made, ask(5, 20, constraint=Matcher(wanted), params=driving.warm(1)))
        driving.finish(made, [free, bound])
        assert (bound.result.tokens, bound.result.stop_type) == (wanted, "eos")
        assert free.result.tokens == driving.alone(model, ask(5, 20), 512)

        class Lazy(Matcher):
            """Begins to count after five tokens."""

            free, passed = True, 0

            def matcher(self):
                return Lazy(self.tokens)

            def accept(self, token):
                if not self.free:
                    super().accept(token)
                self.passed += 1
                self.free = self.passed < 5

        lazy, = driving.run(made, ask(5, 20, constraint=Lazy(wanted)))
        assert lazy.tokens == free.result.tokens[:5] + wanted

        class Broken(Matcher):
            def fill(self, mask):
                raise ValueError("the grammar broke")

            def matcher(self):
                return self

        other, broken = driving.Client(made, ask(5, 20)), driving.Client(made, ask(constraint=Broken(wanted)))
        driving.finish(made, [other])
        assert isinstance(broken.end, Refused)
        assert "the grammar broke" in str(broken.end)
        assert other.result.tokens == free.result.tokens


def test_nothing_left_to_choose(model):
    with driving.scheduler(model, n_ctx=512) as made:
        banned = Params(logit_bias=dict.fromkeys(range(model.tokenizer.n_vocab), False))
        client, other = driving.Client(made, ask(params=banned)), driving.Client(made, ask())
        driving.finish(made, [other])
        assert isinstance(client.end, Refused)
        assert client.end.code == 500
        assert "ruled out" in str(client.end)


@pytest.mark.parametrize("post", [False, True])
def test_probabilities(model, post):
    """Against softmax of a session's logits: before sampling all of it, afterwards over the top_k that were left."""
    params = driving.warm(3, ignore_eos=not post, temperature=0.7, top_k=5)
    request = Request(IDS[:20], params, n_predict=8, n_probs=4, post_sampling_probs=post)
    with driving.scheduler(model, n_ctx=512) as made:
        result, = driving.run(made, request)
    probs, key = result.probs, "prob" if post else "logprob"
    assert [p["id"] for p in probs] == result.tokens
    with opened.session(model, 512) as session:
        session.append(IDS[:20])
        for entry in probs:
            row = opened.rows(session)[0][: model.tokenizer.n_vocab].astype("f8")
            best = np.argsort(-row, kind="stable")
            if post:
                weights = np.zeros(len(row))
                weights[best[:5]] = np.exp((row[best[:5]] - row.max()) / 0.7)
                expected = weights / weights.sum()
            else:
                expected = row - row.max() - math.log(np.exp(row - row.max()).sum())
            top = entry["top_probs" if post else "top_logprobs"]
            assert [e["id"] for e in top] == list(best[:4])
            for e in (entry, *top):
                assert abs(e[key] - expected[e["id"]]) < 1e-4
                assert bytes(e["bytes"]) == model.tokenizer.piece(e["id"], True)
            session.append([entry["id"]])


def test_progress(model):
    with driving.scheduler(model, n_ctx=1024, n_ubatch=64) as made:
        driving.run(made, ask(100, 1))
        client = driving.Client(made, ask(300, 2, return_progress=True))
        driving.finish(made, [client])
        progress = [delta.progress for delta in client.deltas if delta.progress]
        assert [p["processed"] for p in progress] == [164, 228, 292, 300]  # the first 100 were there, then 64 a step
        assert {(p["total"], p["cache"]) for p in progress} == {(300, 100)}


def test_slots_and_metrics(model):
    with driving.scheduler(model, n_ctx=512, n_parallel=2) as made:
        assert [(s["id"], s["is_processing"], s["n_ctx"]) for s in made.slots()] == [(0, False, 512), (1, False, 512)]
        client = driving.Client(made, ask(5, 10))
        for _ in range(3):
            made.turn()
        slot = made.slots()[0]
        assert (slot["is_processing"], slot["id_task"], slot["n_prompt_tokens"]) == (True, client.ticket.number, 5)
        assert slot["next_token"][0]["n_decoded"] == 3
        assert slot["next_token"][0]["n_remain"] == 7
        assert slot["params"]["temperature"] == 0.0
        driving.finish(made, [client])
        counted = made.metrics()
        assert (counted["prompt_tokens_total"], counted["tokens_predicted_total"]) == (5, 9)
        assert (counted["n_decode_total"], counted["n_tokens_max"], counted["n_busy_slots_per_decode"]) == (10, 14, 1)
        timings = client.result.timings
        assert (timings["prompt_n"], timings["predicted_n"]) == (5, 10)
        assert abs(timings["predicted_per_second"] * timings["predicted_per_token_ms"] - 1000) < 1


def test_a_failing_step_is_not_the_end(model, capsys):
    """Who took part is told; everybody after that is served, from a clean cache."""
    with driving.scheduler(model, n_ctx=512) as made:
        driving.run(made, ask(100))
        run = made.engine.run
        made.engine.run = lambda parts: 1 / 0  # type: ignore[method-assign]
        client = driving.Client(made, ask())
        made.turn()
        assert isinstance(client.end, Refused)
        assert client.end.code == 500
        assert "ZeroDivisionError" in capsys.readouterr().err
        made.engine.run = run  # type: ignore[method-assign]
        assert driving.run(made, ask(100))[0].tokens == driving.alone(model, ask(100), 512)


def test_a_model_that_does_not_run(model, monkeypatch):
    """Who waits for readiness does not wait for ever, and is told at the first request."""
    made = Scheduler(model, Settings(n_ctx=512))
    monkeypatch.setattr(made.engine, "run", lambda parts: 1 / 0)
    made.start()
    assert made.ready.wait(300)
    assert isinstance(made.problem, ZeroDivisionError)
    with pytest.raises(Refused, match="does not run") as refused:
        driving.Client(made, ask())
    assert refused.value.code == 500
    made.close()


def started(model, **settings):
    made = Scheduler(model, Settings(n_ctx=512, **settings))
    assert not made.ready.is_set()
    made.start()
    assert made.ready.wait(300)
    return made


def test_draining(model):
    """Close lets running answers end, refuses new ones, and cuts off what takes longer than it may."""
    made = started(model)
    short = driving.Client(made, ask(5, 50))
    made.close(drain_seconds=300)
    assert short.result.stop_type == "limit"
    with pytest.raises(Refused) as refused:
        driving.Client(made, ask())
    assert refused.value.code == 503
    made = started(model, n_parallel=1)
    endless = ask(5, -1, context_shift=True)
    clients = [driving.Client(made, endless) for _ in range(2)]
    made.close(drain_seconds=0.2)
    assert [client.result.stop_type for client in clients] == ["cancel", "cancel"]


def test_flush_comes_once_a_turn(model):
    """Behind all that the turn delivered, and not for nothing."""
    with driving.scheduler(model, n_ctx=512) as made:
        log: list[str] = []
        made.flush = lambda: log.append("flush")
        for i in range(3):
            made.submit(ask(4 + i, 3), lambda item: log.append(type(item).__name__))
        for _ in range(10):
            made.turn()
        first = log.index("flush")
        assert log[:first] == ["Delta"] * first
        assert 1 <= first <= 3
        assert log[-1] == "flush"
        assert log.count("flush") <= 3
        assert "flush flush" not in " ".join(log)


def test_an_idle_engine_sleeps(model):
    """Neither the thread nor the workers take processor time while there is nothing to do."""
    made = started(model)
    client = driving.Client(made, ask())
    while client.end is None:
        time.sleep(0.01)
    time.sleep(0.2)
    used = [1.0]
    while used[-1] >= 0.005:  # on a busy machine it is a while until all have gone to sleep
        assert len(used) < 30, used
        before = time.process_time()
        time.sleep(1.0)
        used.append(time.process_time() - before)
    made.close()
    assert "engine" not in {thread.name for thread in threading.enumerate()}

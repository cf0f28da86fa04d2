"""With one seed a request's tokens are the same alone, in any batch, behind a reused prefix and after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from llamafile.sampling import Params
from llamafile.serving import Request, Scheduler, Settings
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

LONG = tiny.tokens(400)
CTX = 512


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tiny models of every architecture in Q4_0, whose kernels quantise activations."""
    folder = tmp_path_factory.mktemp("same")
    return {name: tiny_gguf.write(model, folder / f"{name}.gguf", "Q4_0") for name, model in tiny.MODELS.items()}


def requests():
    """Prompts of all lengths around pages, some with common beginnings; greedy, warm and with penalties."""
    lengths = (1, 63, 64, 65, 128, 130, 300, 20)
    params = [Params(temperature=0.0, ignore_eos=True)]
    params += [driving.warm(7 + i, ignore_eos=True) for i in range(5)]
    params += [driving.warm(3, ignore_eos=True, repeat_penalty=1.3, presence_penalty=0.5), driving.warm(9)]
    return [Request(LONG[:n] if i % 2 else [1, *LONG[i : i + n - 1]], p, n_predict=30)
            for i, (n, p) in enumerate(zip(lengths, params, strict=True))]


@pytest.mark.parametrize("name", tiny.MODELS)
def test_alone_in_a_batch_and_with_a_prefix(files, name):
    with opened.model(files[name]) as model:
        expected = [driving.alone(model, request, CTX) for request in requests()]
        assert len({tuple(tokens) for tokens in expected}) > 5
        with driving.scheduler(model, n_ctx=4 * CTX, n_parallel=8, n_ubatch=100) as made:
            first = driving.run(made, *requests())
            again = driving.run(made, *reversed(requests()))
        assert [result.tokens for result in first] == expected
        assert [result.tokens for result in reversed(again)] == expected
        assert sum(result.tokens_cached for result in again) > sum(result.tokens_cached for result in first)
        with driving.scheduler(model, n_ctx=CTX, n_parallel=2, n_ubatch=7) as made:
            for request, tokens in zip(requests(), expected, strict=True):
                assert driving.run(made, request)[0].tokens == tokens


def test_the_logits_behind_a_reused_prefix_are_the_same_bits(files):
    """Not the chosen tokens alone: all log-probabilities, of cells reused, copied and computed."""
    def report(made, cache):
        request = Request(LONG[:200], driving.warm(1, ignore_eos=True), n_predict=20, n_probs=tiny.VOCAB,
                          cache_prompt=cache)
        result = driving.run(made, request)[0]
        return result.tokens_cached, [[(e["id"], e["logprob"]) for e in p["top_logprobs"]] for p in result.probs]

    with opened.model(files["llama3"]) as model, driving.scheduler(model, n_ctx=CTX) as made:
        cached, fresh = report(made, True)
        assert cached == 0
        cached, reused = report(made, True)
        assert cached == 199
        assert reused == fresh
        cached, afresh = report(made, False)
        assert cached == 0
        assert afresh == fresh
        with opened.session(model, CTX) as session:
            session.sync(LONG[:200])
            logits = opened.rows(session)[0].astype("f8")
    best = np.log(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
    for token, value in fresh[0]:
        assert abs(best[token] - value) < 1e-5


@pytest.mark.models
def test_smollm2_in_threads(smollm2):
    """The real engine thread, twice as many requests as slots; a second scheduler stands for a restart."""
    import queue

    texts = ["Once upon a time", "The capital of France is", "def fib(n):", "Dear Sir or Madam,", "1 2 3 4 5", "Hello"]
    with opened.model(smollm2) as model:
        head = model.tokenizer.encode("You are a helpful assistant who knows a great deal about the sea. " * 6)
        prompts = [model.tokenizer.encode(text) for text in texts]
        prompts += [head + model.tokenizer.encode(text) for text in texts]
        made = [Request(prompt, Params(seed=i, temperature=0.9), n_predict=24) for i, prompt in enumerate(prompts)]
        expected = [driving.alone(model, request, 512) for request in made]
        for _ in range(2):
            scheduler = Scheduler(model, Settings(n_ctx=2048, n_parallel=6))
            scheduler.start()
            try:
                assert scheduler.ready.wait(300)
                queues: list[queue.Queue] = [queue.Queue() for _ in made]
                for request, waiting in zip(made, queues, strict=True):
                    scheduler.submit(request, waiting.put)
                for waiting, tokens in zip(queues, expected, strict=True):
                    items = [waiting.get(timeout=300)]
                    while type(items[-1]).__name__ == "Delta":
                        items.append(waiting.get(timeout=300))
                    assert items[-1].tokens == tokens
                assert scheduler.tree.available == scheduler.tree.count
            finally:
                scheduler.close()

"""A session with guesses behind its tokens holds and says, bit for bit, what one without would."""

from __future__ import annotations

import random

import numpy as np
import pytest

from llamafile.errors import LlamafileError
from llamafile.sampling import Sampler
from llamafile.speculation.alone import Alone
from llamafile.speculation.wishes import Wishes
from runtime import cpu
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving
from tests.speculation.seers import Free, Seer

CTX = 256
LONG = tiny.tokens(150)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tiny models of every architecture in Q4_0, whose kernels quantise activations."""
    folder = tmp_path_factory.mktemp("ahead")
    return {name: tiny_gguf.write(model, folder / f"{name}.gguf", "Q4_0") for name, model in tiny.MODELS.items()}


def written(model, prompt, count):
    """Tokens drawn at random after a prompt, and the logits that each was drawn from, one by one."""
    sampler = Sampler(driving.warm(5, repeat_penalty=1.2), model.tokenizer.n_vocab, CTX)
    tokens, logits = [], []
    with opened.session(model, CTX) as session:
        session.append(prompt)
        for _ in range(count):
            logits.append(opened.rows(session)[0])
            tokens.append(sampler.sample(session.logits))
            sampler.accept(tokens[-1])
            session.append(tokens[-1:])
    return tokens, logits


@pytest.mark.parametrize("set_name", cpu.available())
@pytest.mark.parametrize("name", tiny.MODELS)
def test_logits_are_the_same_bits_behind_right_and_wrong_guesses(files, name, set_name):
    chance = random.Random(1)
    with opened.isa(set_name), opened.model(files[name]) as model:
        tokens, logits = written(model, LONG[:60], 90)
        with opened.session(model, CTX, n_ahead=20) as session:
            session.append(LONG[:60])
            passes = 0
            for i, token in enumerate(tokens):
                assert np.array_equal(opened.rows(session)[0], logits[i]), i
                guess = tokens[i + 1 : i + 1 + chance.randrange(21)]
                if guess and chance.random() < 0.5:
                    guess[chance.randrange(len(guess))] = chance.randrange(tiny.VOCAB)
                passes += session.next_guess != token
                session.append([token], guess)
                assert session.tokens == [*LONG[:60], *tokens[: i + 1]]
        assert passes < 45


def test_rejected_guesses_leave_no_cell_behind(files):
    """What is saved, and what comes after a truncation, a shift and another prompt, is as if nobody had guessed."""
    with opened.model(files["llama3"]) as model, opened.session(model, CTX, n_ahead=16) as guessed, \
            opened.session(model, CTX) as plain:
        for session, guess in ((guessed, [3, 1, 4, 1, 5, 9, 2, 6]), (plain, [])):
            session.append(LONG[:70])
            session.append([LONG[70]], guess)
            session.append([3], guess)
        assert guessed.next_guess == 1
        assert [bytes(part) for part in guessed.cells()] == [bytes(part) for part in plain.cells()]
        for do in (lambda s: s.shift(4, 30), lambda s: s.append([1]), lambda s: s.truncate(40),
                   lambda s: s.append([1], [2, 3]), lambda s: s.sync([*s.tokens, 2]), lambda s: s.append([2]),
                   lambda s: s.sync(LONG[:50])):
            for session in (guessed, plain):
                do(session)
            assert guessed.tokens == plain.tokens
            assert np.array_equal(opened.rows(guessed), opened.rows(plain))
            assert [bytes(part) for part in guessed.cells()] == [bytes(part) for part in plain.cells()]


def test_guesses_end_where_the_context_does(files):
    with opened.model(files["llama"]) as model, opened.session(model, 64, n_ahead=16) as session:
        session.append(LONG[:61])
        session.append([LONG[61]], LONG[62:80])
        session.append(LONG[62:64])
        assert session.next_guess == -1
        with pytest.raises(LlamafileError, match="do not fit"):
            session.append([1])
        session.shift(0, 30)
        session.append([1], LONG[:5])
        assert session.next_guess == LONG[0]


@pytest.mark.parametrize("wrong", [0.0, 0.2, 1.0])
def test_a_session_alone_writes_the_same_with_any_guesser(files, wrong):
    with opened.model(files["qwen3"]) as model:
        tokens, logits = written(model, LONG[:60], 80)
        with opened.session(model, CTX, n_ahead=16) as session:
            ahead = Alone(session, Wishes())
            ahead._text.lookup, ahead._costs = Seer(LONG[:60], tokens, wrong, tiny.VOCAB, 3), Free()
            session.append(LONG[:60])
            for i, token in enumerate(tokens):
                assert np.array_equal(opened.rows(session)[0], logits[i]), i
                ahead.append([token])
            assert session.tokens == [*LONG[:60], *tokens]
    assert ahead.drafted
    share = ahead.accepted / ahead.drafted
    assert share > 0.8 if not wrong else share < 0.7  # at the end it guesses beyond what it knows

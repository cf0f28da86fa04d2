"""Real models against llama.cpp: 200 tokens after each of ten prompts, on its path and on our own.

Both engines round activations to 8 bits, and so differ from F32 arithmetic, and from themselves when llama.cpp takes
a prompt in another number of pieces. How much it differs from itself is kept beside its answers (`again`); we must
differ from it no more than it does, without a bias, and choose otherwise only where its two best were that close.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tests.engine import opened
from tests.oracles.make_greedy import COUNT, load
from tests.oracles.numpy_llama import NumpyModel
from tests.oracles.prompts import PROMPTS

pytestmark = pytest.mark.models

#: Root mean square distance of llama.cpp's logits (their mean taken out) from F32 arithmetic, SmolLM2, prompt "fact".
LLAMA_CPP_TO_F32 = 0.110


class Forced(NamedTuple):
    """What we say on llama.cpp's path."""

    ids: np.ndarray  # i[COUNT]: our choice
    gaps: np.ndarray  # f32[COUNT]: our gap between llama.cpp's two best


def forced(model, kept) -> Forced:
    """Feed a prompt and llama.cpp's continuation."""
    ids = [*kept.prompt.tolist(), *kept.ids[:-1].tolist()]
    with opened.session(model, len(ids), n_batch=128, all_logits=True) as session:
        rows = opened.feed(session, ids, 128)[-COUNT:]
    every = np.arange(COUNT)
    return Forced(rows.argmax(-1), rows[every, kept.ids] - rows[every, kept.second])


def compare(path, name) -> None:
    """Force every prompt, then look at all choices together."""
    kept = load(name)
    with opened.model(path) as model:
        ours = {prompt: forced(model, kept[prompt]) for prompt in PROMPTS}
        follow(model, kept, ours)
    theirs = np.concatenate([kept[p].gaps for p in PROMPTS])
    itself = np.concatenate([kept[p].again for p in PROMPTS]) - theirs
    difference = np.concatenate([ours[p].gaps for p in PROMPTS]) - theirs
    noise = np.sqrt((itself**2).mean())
    flips = [(p, i, kept[p].gaps[i]) for p in PROMPTS for i in np.nonzero(ours[p].ids != kept[p].ids)[0]]
    for prompt, place, gap in flips:
        print(f"{name}, {prompt}, token {place}: llama.cpp's two best are {gap:.3f} apart,"
              f" ours {ours[prompt].gaps[place]:.3f}")
    print(f"{name}: gaps differ by {np.sqrt((difference**2).mean()):.4f} rms, llama.cpp's from its own by {noise:.4f};"
          f" {len(flips)} of {len(theirs)} choices differ, llama.cpp's from its own {(itself + theirs < 0).sum()}")
    assert np.sqrt((difference**2).mean()) < 1.15 * noise
    assert abs(difference.mean()) < 0.15 * noise
    assert len(flips) < 0.025 * len(theirs)
    assert sum(gap >= 0.2 for _, _, gap in flips) < 0.005 * len(theirs)
    assert all(gap < 6 * noise for _, _, gap in flips)


def follow(model, kept, ours) -> None:
    """Our own greedy text is llama.cpp's up to the first choice that differed on its path."""
    for prompt in ("fact", "list", "sql"):
        differ = np.nonzero(ours[prompt].ids != kept[prompt].ids)[0]
        same = differ[0] if len(differ) else COUNT
        with opened.session(model, len(kept[prompt].prompt) + COUNT) as session:
            session.sync(kept[prompt].prompt.tolist())
            for place in range(min(same + 1, COUNT)):
                best = int(opened.rows(session)[0].argmax())
                assert best == (kept[prompt] if place < same else ours[prompt]).ids[place]
                session.append([best])


def test_smollm2(smollm2):
    compare(smollm2, "smollm2")


@pytest.mark.long
def test_qwen(qwen0_5b):
    compare(qwen0_5b, "qwen0.5b")


def test_as_near_to_f32_as_llama_cpp(smollm2):
    """The rounding of activations costs us no more than it costs llama.cpp."""
    kept = load("smollm2")["fact"]
    ids = [*kept.prompt.tolist(), *kept.ids[:-1].tolist()]
    with opened.model(smollm2) as model, opened.session(model, len(ids), all_logits=True) as session:
        ours = opened.feed(session, ids, 256)[-COUNT:]
    difference = ours - NumpyModel(smollm2).logits(ids)[-COUNT:]
    difference -= difference.mean(-1, keepdims=True)
    assert np.sqrt((difference**2).mean()) < 1.05 * LLAMA_CPP_TO_F32

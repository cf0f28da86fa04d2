"""How many guesses ride along: what makes the most tokens in a second, on machines with all kinds of curves."""

from __future__ import annotations

import random

import pytest

from llamafile.speculation.pace import PLAIN, WORTH, Costs, Straight, share_out

MEMORY_BOUND = [0.0, *(1.0 + 0.02 * (k - 1) for k in range(1, 80))]
MEASURED = [0.0, *(1.0 + 0.09 * (k - 1) for k in range(1, 80))]
COMPUTE_BOUND = [0.0, *(float(k) for k in range(1, 80))]
STEPPED = [0.0, *(1.0 + 0.5 * ((k - 1) // 8) for k in range(1, 80))]


class Exact:
    """Costs that are known."""

    def __init__(self, curve, base):
        self.curve, self.base, self.forgiven = curve, base, 0

    def seconds(self, further):
        return self.curve[self.base + further]

    def most(self):
        return 32

    def forgive(self):
        self.forgiven += 1


@pytest.mark.parametrize("curve", [MEMORY_BOUND, MEASURED, COMPUTE_BOUND, STEPPED])
def test_the_share_is_the_best_of_all(curve):
    """Against trying every way to give two texts up to six guesses each."""
    chance = random.Random(4)
    for _ in range(200):
        chances = [[chance.random() for _ in range(6)] for _ in range(2)]
        costs = Exact(curve, 2)

        def speed(i, j, chances=chances, costs=costs):
            expected, counts = 2.0, (i, j)
            for list_, count in zip(chances, counts, strict=True):
                whole = 1.0
                for each in list_[:count]:
                    whole *= each
                    expected += whole
            return expected / costs.seconds(i + j)

        best = max(speed(i, j) for i in range(7) for j in range(7))
        mine = speed(*share_out(chances, 2, 32, costs))
        assert mine >= best / WORTH - 1e-9


def simulated(curve, chance, *, length=16, passes=600, noise=0.0, seed=1):
    """Tokens a second of a text whose guesses are right with a known chance, against one without guesses."""
    luck, costs = random.Random(seed), Costs()
    taken, seconds, tokens = [], 0.0, 0
    for _ in range(passes):
        beside = costs.beside(1)
        count, = share_out([[chance] * length], 1, length, beside)
        if not count:
            beside.forgive()
        took = 0.02 * curve[1 + count] * (1 + noise * luck.random())
        costs.measure(1 + count, took, count)
        right = 0
        while right < count and luck.random() < chance:
            right += 1
        seconds += took
        tokens += 1 + right
        taken.append(count)
    return tokens / seconds * 0.02 * curve[1] * (1 + noise / 2), taken


@pytest.mark.parametrize("curve", [MEMORY_BOUND, MEASURED, COMPUTE_BOUND, STEPPED])
@pytest.mark.parametrize("chance", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_never_slower_and_near_the_best(curve, chance, noise):
    speed, _ = simulated(curve, chance, noise=noise)
    best = max((1 - chance ** (n + 1)) / (1 - chance) / curve[1 + n] for n in range(17)) * curve[1]
    assert speed > 0.97
    if not noise:
        assert speed > 0.85 * max(1.0, best)


def test_where_computing_is_the_bound_guessing_stops():
    _, taken = simulated(COMPUTE_BOUND, 0.9)
    assert sum(count > 0 for count in taken) < 0.05 * len(taken)


def test_one_bad_moment_is_forgotten():
    """The first pass with guesses is interrupted for a second; the gain is had all the same."""
    costs = Costs()
    for _ in range(5):
        costs.measure(1, 0.02)
    costs.measure(2, 1.0, 1)
    for _ in range(400):
        beside = costs.beside(1)
        count, = share_out([[0.9] * 16], 1, 16, beside)
        if not count:
            beside.forgive()
        costs.measure(1 + count, 0.02 * MEMORY_BOUND[1 + count], count)
    assert count > 4


def test_a_machine_that_becomes_slow_moves_the_whole_curve():
    costs = Costs()
    for _ in range(10):
        for k in (1, 2, 4, 8):
            costs.measure(k, 0.01 * MEASURED[k])
    for _ in range(20):
        costs.measure(8, 0.02 * MEASURED[8])
    assert costs.seconds(1) > 0.014


def test_no_guess_is_far_beyond_what_was_measured():
    costs = Costs()
    assert costs.beside(1).most() == 0
    for _ in range(PLAIN):
        costs.measure(1, 0.01)
    assert costs.beside(1).most() == 1
    costs.measure(2, 0.011, 1)
    assert costs.beside(1).most() == 3
    assert costs.beside(40).most() == 40  # a pass of 40 is made anyway


def test_beside_a_long_prompt_guesses_cost_a_row_each():
    assert share_out([[0.9] * 16], 1, 16, Straight(300)) == [16]
    assert share_out([[0.02] * 16], 1, 16, Straight(20)) == [0]

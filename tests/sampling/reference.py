"""The sampling chain written plainly in numpy: everything sorted, nothing clever; the oracle of the tests.

Logits are single precision, all else is double. Steps compare numbers with thresholds; where the two nearly meet,
single precision may decide the other way, and the test leaves the case out: `closest` remembers how near any came.
"""

from __future__ import annotations

import numpy as np

BIGGEST = float(np.finfo(np.float32).max)


class Random:
    """The repeatable draws, by numpy's own Mersenne Twister."""

    def __init__(self, seed: int):
        self.twister = np.random.RandomState(seed)

    def word(self) -> int:
        return int(self.twister.randint(0, 2**32, dtype=np.uint32))

    def double(self) -> float:
        low = self.word()
        return min((low + self.word() * 2.0**32) / 2.0**64, np.nextafter(1, 0))

    def single(self) -> float:
        return float(np.float32(self.word()) / np.float32(2**32))


class Reference:
    """A sampler of the same parameters; `ids` and `values` are the candidates, best first."""

    def __init__(self, params, chain: str, past=(), n_context: int = 4096):
        self.p, self.chain, self.past, self.n_context = params, chain, list(past), n_context
        self.draw, self.chance = Random(params.seed), Random(params.seed)
        self.mu = 2 * params.mirostat_tau
        self.closest = np.inf

    def sort(self):
        self.values = np.clip(self.values, -BIGGEST, BIGGEST).astype(np.float32).astype(float)
        order = np.lexsort((self.ids, -self.values))
        self.ids, self.values = self.ids[order], self.values[order]

    def keep(self, chosen):
        self.ids, self.values = self.ids[chosen], self.values[chosen]

    def near(self, numbers, threshold):
        gaps = np.abs(np.asarray(numbers, float) - threshold)
        self.closest = min([self.closest, *gaps[~np.isnan(gaps)].tolist()])

    def probabilities(self):
        weights = np.exp(self.values - self.values[0])
        return weights / weights.sum()

    def start(self, logits, bias=None, mask=None):
        values = np.asarray(logits, np.float32).astype(float)
        values[np.isnan(values)] = -np.inf
        values[values == np.inf] = BIGGEST
        if mask is not None:
            values[~np.asarray(mask, bool)] = -np.inf
        for token, added in (bias or {}).items():
            values[token] += added
        self.ids = np.flatnonzero(values > -np.inf)
        self.values = values[self.ids]
        self.sort()

    def sample(self, logits, **given) -> int:
        self.start(logits, **given)
        greedy = self.p.temperature <= 0 and self.p.dynatemp_range <= 0
        names = {
            "e": self.penalties, "d": self.dry, "s": self.sigma, "k": self.top_k, "y": self.typical, "p": self.top_p,
            "m": self.min_p, "x": self.xtc, "t": self.temperature,
        }  # fmt: skip
        for letter in self.chain:
            if not self.p.mirostat or letter in "ed":
                names[letter]()
        if greedy:
            self.keep([0])
            return int(self.ids[0])
        if not self.p.mirostat:
            return int(self.ids[self.pick()])
        self.temperature()
        self.mirostat()
        place = self.pick()
        surprise = -np.log2(self.probabilities()[place])
        self.mu -= self.p.mirostat_eta * (surprise - self.p.mirostat_tau)
        return int(self.ids[place])

    def pick(self) -> int:
        if self.p.mirostat and len(self.ids) == 1:
            return 0
        running, draw = np.cumsum(self.probabilities()), self.draw.double()
        self.near(running[:-1], draw)
        return min(int(np.searchsorted(running, draw)), len(self.ids) - 1)

    def window(self, last_n):
        n = self.n_context if last_n < 0 else min(last_n, self.n_context)
        return self.past[len(self.past) - min(n, len(self.past)) :]

    def penalties(self):
        p = self.p
        recent = self.window(p.repeat_last_n)
        for i, token in enumerate(self.ids):
            if count := recent.count(token):
                value = self.values[i]
                value = value * p.repeat_penalty if value <= 0 else value / p.repeat_penalty
                self.values[i] = value - count * p.frequency_penalty - p.presence_penalty
        self.sort()

    def dry(self):
        p = self.p
        recent = self.window(p.dry_penalty_last_n)
        if not p.dry_multiplier or not recent:
            return
        limit = unbroken(recent, p.dry_sequence_breakers)
        longest: dict[int, int] = {}
        for end in range(len(recent) - 1):  # the tokens up to `end` may repeat what ends the text
            length = 0
            while length <= end and recent[end - length] == recent[-1 - length]:
                length += 1
            length = min(length, limit)
            follower = recent[end + 1]
            longest[follower] = max(longest.get(follower, -1), length)
        for i, token in enumerate(self.ids):
            if limit >= p.dry_allowed_length <= longest.get(int(token), -1):
                self.values[i] -= p.dry_multiplier * p.dry_base ** (longest[int(token)] - p.dry_allowed_length)
        self.sort()

    def sigma(self):
        if self.p.top_n_sigma > 0:
            floor = self.values[0] - self.p.top_n_sigma * self.values.std()
            self.near(self.values[1:], floor)
            self.keep(self.values >= min(floor, self.values[0]))

    def top_k(self):
        if self.p.top_k > 0:
            self.keep(slice(self.p.top_k))

    def top_p(self):
        if self.p.top_p < 1:
            running = np.cumsum(self.probabilities())
            self.near(running, self.p.top_p)
            self.keep(slice(max(int(np.sum(running < self.p.top_p)) + 1, self.p.min_keep)))

    def min_p(self):
        if self.p.min_p > 0:
            ratios = self.values - self.values[0]
            self.near(ratios[1:], np.log(self.p.min_p))
            self.keep(slice(max(int(np.sum(ratios >= np.log(self.p.min_p))), self.p.min_keep, 1)))

    def typical(self):
        if self.p.typical_p >= 1:
            return
        shares = self.probabilities()
        surprise = self.values[0] - self.values - np.log(shares[0])
        distance = np.abs(surprise - np.sum(shares * surprise))
        # Equal values have equal distances: rounding must not order them, so the value itself breaks the tie.
        order = np.lexsort((self.ids, -self.values, np.round(distance, 9)))
        running = np.cumsum(shares[order])
        self.near(running, self.p.typical_p)
        ranked, kept = distance[order], max(int(np.sum(running <= self.p.typical_p)) + 1, self.p.min_keep)
        if kept < len(order) and self.values[order[kept]] != self.values[order[kept - 1]]:
            self.near(ranked[kept], ranked[kept - 1])
        self.keep(np.sort(order[:kept]))

    def xtc(self):
        p = self.p
        if p.xtc_probability <= 0 or p.xtc_threshold > 0.5 or len(self.ids) < 2:
            return
        if self.chance.single() > p.xtc_probability:
            return
        shares = self.probabilities()
        self.near(shares, p.xtc_threshold)
        drop = int(np.sum(shares >= p.xtc_threshold)) - 1
        if drop > 0 and len(self.ids) - drop >= p.min_keep:
            self.keep(slice(drop, None))

    def temperature(self):
        t = self.p.temperature
        if self.p.dynatemp_range > 0:
            if len(self.ids) < 2:
                return
            shares = self.probabilities()
            entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1))) / np.log(len(shares))
            low, high = max(t - self.p.dynatemp_range, 0), t + self.p.dynatemp_range
            t = low + (high - low) * entropy**self.p.dynatemp_exponent
            gaps = -np.diff(self.values)
            self.near(gaps[gaps > 0], 0)  # the last bit of t decides whether two values meet when divided
            if t < 1e-3 or entropy < 1e-6:  # a hair's breadth decides between one candidate and all
                self.closest = 0
        if t <= 1e-6:
            self.keep([0])
        else:
            self.values = self.values.astype(np.float32) / np.float32(t)
            self.sort()  # values that were apart may have become equal

    def mirostat(self):
        shares = self.probabilities()
        if self.p.mirostat == 2:
            surprise = -np.log2(np.where(shares > 0, shares, 1e-300))
            self.near(surprise[1:], self.mu)
            self.keep(slice(max(int(np.sum(surprise <= self.mu)), 1)))
            return
        best = self.values[:100]
        t = np.log(np.arange(2, len(best) + 1) / np.arange(1, len(best)))
        if len(t) == 0:
            return
        exponent = np.sum(t * -np.diff(best)) / np.sum(t * t)
        over = exponent - 1
        with np.errstate(all="ignore"):
            k = ((over * 2**self.mu) / (1 - self.size ** (-over))) ** (1 / exponent)
        if k < len(self.ids) + 2:
            self.near([k - np.round(k)], 0)
        self.keep(slice(int(np.clip(k, 1, self.size))))

    size = 0  # of the vocabulary; mirostat 1 needs it


def unbroken(recent, breakers) -> int:
    """How many tokens stand after the last breaker; of breakers that begin at one place, the longest counts."""
    for back in range(1, len(recent) + 1):
        tail = recent[-back:]
        lengths = [len(b) for b in breakers if len(b) <= back and tail[: len(b)] == list(b)]
        if lengths:
            return back - max(lengths)
    return len(recent)

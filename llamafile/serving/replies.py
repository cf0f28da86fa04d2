"""What follows on a chosen token: text, stop texts, bounds, probabilities, and how an answer ends."""

from __future__ import annotations

import math
import time

from .requests import Delta, Refused, Result

LEAST = -3.4028234663852886e38  # stands for minus infinity, which JSON cannot say


class Replies:
    """Gives sequences their tokens and tells those who wait for them; `finished` takes each sequence that ended.

    `delivered` is set with each item that was delivered.
    """

    def __init__(self, model, pieces, finished):
        self._eog, self._pieces, self._finished = model.tokenizer.eog, pieces, finished
        self.delivered = False

    def mask(self, sequence):
        """Have the constraint say what may come next; returns False where it failed and with it the answer."""
        try:
            sequence.masked = not getattr(sequence.matcher, "free", False)
            if sequence.masked:
                sequence.matcher.fill(sequence.mask)
        except Exception as problem:  # whatever a grammar's code raises is this request's alone
            self.fail(sequence, f"grammar: {problem}")
            return False
        return True

    def token(self, sequence, token, logits):
        """A token was chosen (-1: every one was ruled out) from the logits at this address."""
        clock, request = sequence.clock, sequence.request
        if not clock.first:
            clock.first = time.perf_counter()
        if token < 0:
            self.fail(sequence, "sampling: every token is ruled out; loosen logit_bias or the grammar")
            return
        clock.predicted += 1
        if token in self._eog:
            self.finish(sequence, "eos")
            return
        if request.n_probs:
            sequence.probs.append(self._probabilities(sequence, token, logits))
        sequence.generated.append(token)
        sequence.tokens.append(token)
        text = sequence.answer.push(token)
        try:
            ended = self._ended(sequence, token)
        except Exception as problem:
            self.fail(sequence, f"grammar: {problem}")
            return
        if text:
            self._tell(sequence, text)
        if ended:
            self.finish(sequence, ended)

    def _ended(self, sequence, token):
        """Why the answer ends with this token, or ""."""
        request, clock = sequence.request, sequence.clock
        if sequence.answer.stopped:
            return "word"
        if sequence.matcher is not None:
            sequence.matcher.accept(token)
            if sequence.matcher.finished:
                return "eos"
        if len(sequence.generated) >= sequence.limit:
            return "limit"
        if 0 < request.t_max_predict_ms <= 1000 * (time.perf_counter() - clock.first):
            return "limit"
        if len(sequence.tokens) > sequence.n_ctx and not self.may_shift(sequence):
            sequence.truncated = True
            return "limit"
        return ""

    @staticmethod
    def may_shift(sequence):
        """Whether a full context makes room by dropping tokens."""
        return sequence.request.context_shift and sequence.request.n_predict != -2

    def progress(self, sequence):
        """A chunk of the prompt was read."""
        if sequence.request.return_progress and sequence.reading:
            clock = sequence.clock
            progress = {"total": clock.prompt, "cache": clock.cached, "processed": sequence.n_done,
                        "time_ms": round(1000 * (time.perf_counter() - clock.started))}
            self._deliver(sequence, Delta(progress=progress, clock=clock))

    def finish(self, sequence, stop_type, embedding=None):
        """The answer has ended: "eos", "limit", "word" or "cancel"."""
        clock, answer = sequence.clock, sequence.answer
        clock.ended = time.perf_counter()
        rest = answer.finish() if answer is not None else ""
        result = Result(
            text="".join(answer.text) if answer is not None else "", rest=rest, tokens=sequence.generated,
            probs=sequence.probs if sequence.request.n_probs else None, stop_type=stop_type,
            stopping_word=answer.stopped if answer is not None else "", truncated=sequence.truncated,
            id_slot=-1 if sequence.slot is None else sequence.slot.id, tokens_cached=clock.cached,
            tokens_evaluated=clock.prompt, tokens_predicted=clock.predicted, timings=clock.timings(),
            embedding=embedding,
        )  # fmt: skip
        self._end(sequence, result)

    def fail(self, sequence, message, code=500, type="server_error"):
        """The answer cannot go on."""
        sequence.clock.ended = time.perf_counter()
        self._end(sequence, Refused(code, type, message))

    def _end(self, sequence, item):
        """Nothing comes after this item: who waited for it is let go of."""
        self._finished(sequence)
        self._deliver(sequence, item)
        sequence.deliver = None

    def _tell(self, sequence, text):
        sent, sequence.sent = sequence.sent, len(sequence.generated)
        probs = sequence.probs[sent:] if sequence.request.n_probs else None
        self._deliver(sequence, Delta(text, sequence.generated[sent:], probs, clock=sequence.clock))

    def _deliver(self, sequence, item):
        self.delivered = True
        try:
            sequence.deliver(item)
        except Exception:  # whoever waited is gone: the rest of the answer is for nobody
            sequence.cancelled = True

    def _probabilities(self, sequence, token, logits):
        """One entry of completion_probabilities."""
        request, sampler = sequence.request, sequence.sampler
        if request.post_sampling_probs:
            own, best = sampler.drawn_logprobs(token, request.n_probs)
            entries = [{**self._named(i), "prob": math.exp(value)} for i, value in best]
            return {**self._named(token), "prob": math.exp(own), "top_probs": entries}
        own, best = sampler.logprobs(logits, token, request.n_probs)
        entries = [{**self._named(i), "logprob": max(value, LEAST)} for i, value in best]
        return {**self._named(token), "logprob": max(own, LEAST), "top_logprobs": entries}

    def _named(self, token):
        piece = self._pieces.piece(token, True)
        return {"id": token, "token": piece.decode("utf-8", "replace"), "bytes": list(piece)}

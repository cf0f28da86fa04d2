"""The entrance: a request is checked and becomes a sequence with its sampler, text and constraint."""

from __future__ import annotations

from llamafile._native import ffi
from llamafile.errors import LlamafileError
from llamafile.sampling import Sampler
from llamafile.sampling.breakers import resolve

from .answer import Answer
from .requests import Refused
from .sequence import Sequence


class Entrance:
    """Makes sequences; its methods run on the threads of those who submit."""

    def __init__(self, model, settings, n_ctx, pieces):
        self._model, self._settings, self._n_ctx, self._pieces = model, settings, n_ctx, pieces
        self._breakers: dict = {}

    def sequence(self, request, deliver):
        """The sequence of a request, not numbered yet; raises Refused(400) for one that cannot be served."""
        request.check(self._model.n_vocab)
        self._check_fit(request)
        sequence = Sequence(request, deliver, 0, self._n_ctx)
        if sequence.embeds:
            sequence.private, sequence.reuse = 0, False
        else:
            sequence.reuse = request.cache_prompt and self._settings.cache_prompt
            self._prepare(sequence, request)
        return sequence

    def _check_fit(self, request):
        count, room = len(request.prompt), self._n_ctx - (request.kind == "completion")
        if count > room:
            raise Refused(400, "exceed_context_size_error",
                          f"the prompt has {count} tokens, the context holds {self._n_ctx}; use a shorter prompt or a "
                          "larger -c", n_prompt_tokens=count, n_ctx=self._n_ctx)
        if not -1 <= request.id_slot < self._settings.n_parallel:
            raise Refused(400, "invalid_request_error", f"id_slot: there is no slot {request.id_slot}")

    def _prepare(self, sequence, request):
        """What an answer needs: a sampler that knows the prompt, the text, the constraint."""
        tokenizer, n = self._model.tokenizer, self._model.tokenizer.n_vocab
        try:
            sequence.sampler = Sampler(request.params, n, self._n_ctx, eog=tokenizer.eog, breakers=self._breaker_ids)
            sequence.sampler.accept_all(token for token in request.prompt if token < n)
        except LlamafileError as problem:
            raise Refused(400, "invalid_request_error", str(problem)) from None
        sequence.answer = Answer(self._pieces, request.stop, request.special)
        if request.constraint is not None:
            made = request.constraint
            sequence.matcher = made.matcher() if hasattr(made, "matcher") else made
            sequence.mask = ffi.new("uint32_t[]", (n + 31) // 32)

    def _breaker_ids(self, breakers):
        key = tuple(breaker if isinstance(breaker, (str, bytes)) else tuple(breaker) for breaker in breakers)
        if key not in self._breakers:
            tokenizer = self._model.tokenizer
            pieces = (tokenizer.piece(token) for token in range(tokenizer.n_vocab))
            found = resolve(breakers, pieces, lambda t: tokenizer.encode(t, add_special=False, parse_special=False))
            self._breakers = {key: found}  # the last ones asked for: most requests have the same
        return self._breakers[key]

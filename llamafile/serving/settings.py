"""How a scheduler is set up."""

from __future__ import annotations


class Settings:
    """Plain attributes, by the names of the flags.

    n_ctx: tokens that one request may use, prompt and answer; as many cells are in the cache that all slots share page
    by page as they need (llama-server's unified cache). 0 is what the model was trained for. With kv_unified False a
    request may use n_ctx / n_parallel only. n_parallel: slots, requests answered at the same time; 0 or less is 4.
    n_ubatch: rows of one step, prompts and answers together. n_queue: requests that may wait for a slot. cache_types:
    formats of keys and values. cache_prompt False: no request uses cells that are there already.
    wishes: what is guessed ahead, a llamafile.speculation.wishes.Wishes; None: nothing.
    """

    __slots__ = ("cache_prompt", "cache_types", "kv_unified", "n_ctx", "n_parallel", "n_queue", "n_ubatch", "wishes")

    def __init__(self, n_ctx=0, n_parallel=0, n_ubatch=512, n_queue=256, cache_types=("f16", "f16"), kv_unified=True,
                 cache_prompt=True, wishes=None):
        self.n_ctx, self.n_parallel, self.n_queue = n_ctx, n_parallel if n_parallel > 0 else 4, n_queue
        self.n_ubatch = max(n_ubatch, self.n_parallel)
        self.wishes = wishes
        self.cache_types, self.kv_unified, self.cache_prompt = tuple(cache_types), kv_unified, cache_prompt

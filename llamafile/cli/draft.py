"""Opens the model of -md, which guesses ahead, as the flags for it say."""

from __future__ import annotations

from llamafile.cli import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.arguments import Options

# Flags of the model that the draft model has no part in.
_OWN = ("override_kv", "rope_scaling", "rope_freq_base", "rope_freq_scale", "yarn_orig_ctx", "yarn_ext_factor",
        "yarn_attn_factor", "yarn_beta_slow", "yarn_beta_fast", "tensor_split", "n_cpu_moe", "cpu_moe", "isa")


def open_of(options: Options, target: Any, n_ctx: int, texts: int, note: Callable[[str], None]) -> Any:
    """Return a DraftModel for a target and so many texts of n_ctx tokens; LlamafileError where it does not fit it."""
    from llamafile.flags import TABLE
    from llamafile.speculation import draft_model

    mine = object.__new__(type(options))
    mine.__dict__.update(options.__dict__)
    mine.__dict__.update({flag.dest: flag.default for flag in TABLE if flag.dest in _OWN})
    mine.model, mine.n_gpu_layers = options.model_draft, options.n_gpu_layers_draft
    if not mine.n_gpu_layers:
        mine.gpu = "disable"
    mine.n_threads = options.threads_draft if options.threads_draft > 0 else options.n_threads
    model = engine.open_model_of(mine, note)
    try:
        draft_model.check(model, target)
        size = min(options.ctx_size_draft or n_ctx, model.n_ctx_train)
        return draft_model.DraftModel(model, size, texts, (options.cache_type_k_draft, options.cache_type_v_draft))
    except BaseException:
        model.close()
        raise

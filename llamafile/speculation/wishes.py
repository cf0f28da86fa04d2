"""What the flags and a request say about speculation: which guesses, how many, and where there can be none."""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options

N_MAX = 16  # guesses in one pass for one text, unless --draft-max says otherwise
MOST = 32  # guesses in one pass, for all texts: up to so many columns a card's products give the same bits too


class Wishes:
    """lookup: whether the text's own past is guessed from, once `size` tokens are alike; draft: a DraftModel or None.

    n_max: guesses in a pass at most, 0 for none; n_min: fewer are not worth a try; p_min: how sure the draft model has
    to be of a token (0 to 1).
    """

    __slots__ = ("draft", "lookup", "n_max", "n_min", "p_min", "size")

    def __init__(self, lookup: bool = True, draft: Any = None, *, size: int = 3, n_max: int = N_MAX, n_min: int = 0,
                 p_min: float = 0.0) -> None:
        self.lookup, self.draft, self.size = lookup, draft, size
        self.n_max, self.n_min, self.p_min = min(n_max, MOST), n_min, p_min

    @property
    def any(self) -> bool:
        """Whether anything is guessed at all."""
        return self.n_max > 0 and (self.lookup or self.draft is not None)


def of(options: Options, model: Any) -> Wishes:
    """Return what the flags wish for a model, without the draft model; raises LlamafileError where they contradict."""
    kinds = {kind.strip() for kind in options.spec_type.split(",") if kind.strip()}
    unknown = kinds - {"auto", "none", "lookup", "draft", "draft-simple"} - _NGRAMS
    if unknown:
        raise LlamafileError(f"--spec-type: {', '.join(sorted(unknown))} is not there; choose from auto, lookup, draft "
                             "and none")
    if options.model_draft is None and kinds & {"draft", "draft-simple"}:
        raise LlamafileError("--spec-type draft: needs a draft model; name one with -md")
    asked = options.lookup if "lookup" in options.given else None
    if asked is None and kinds != {"auto"}:
        asked = bool(kinds & {"lookup", *_NGRAMS})
    on_card = model.offload is not None
    # On a card a row's last bits depend on how many are computed with it: there, somebody has to ask for it.
    lookup = not on_card if asked is None else asked
    return Wishes(lookup, size=options.lookup_ngram_min, n_max=options.draft_max, n_min=options.draft_min,
                  p_min=options.draft_p_min)


def wants_draft(options: Options) -> bool:
    """Whether a draft model is to be opened."""
    kinds = {kind.strip() for kind in options.spec_type.split(",")}
    return options.model_draft is not None and options.draft_max > 0 and bool(kinds & {"auto", "draft", "draft-simple"})


_NGRAMS = {"ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache"}


"""--prompt-cache: the state after a prompt in a file, so that the next run need not evaluate it again."""

from __future__ import annotations

import os

from llamafile.cli.timeline import Full

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.timeline import Timeline


def prepare(options: Options) -> None:
    """Start what can still write the file when the sandbox is closed, where one will be written."""
    from llamafile import sandbox

    if options.prompt_cache is not None and not options.prompt_cache_ro and not sandbox.why_off(options):
        sandbox.preload("cli", "hashlib")
        sandbox.files.start(paths=[options.prompt_cache])


class PromptFile:
    """The file that --prompt-cache names; without one nothing here does anything."""

    def __init__(self, options: Options, timeline: Timeline) -> None:
        self.path = options.prompt_cache
        self.keeps_all = options.prompt_cache_all
        self.writes = self.path is not None and not options.prompt_cache_ro
        self.timeline = timeline
        self.held: list[int] = []
        self.kept = False

    def open(self) -> list[int]:
        """Load the file into the session, if there is one, and return its tokens; LlamafileError if it does not fit."""
        if self.path is None or not os.path.exists(self.path):
            return []
        self.timeline.session.load(self.path)
        self.held = list(self.timeline.session.tokens)
        return self.held

    def keep_prompt(self) -> None:
        """Write the state after the first prompt, unless the file holds just that, or more."""
        tokens = self.timeline.session.tokens
        if self.writes and not self.kept and tokens and self.held[: len(tokens)] != tokens:
            self._save()
        self.kept = True

    def keep_all(self) -> None:
        """Write the state at the end, if --prompt-cache-all asks for it."""
        if self.writes and self.keeps_all and self.timeline.tokens != self.held:
            try:  # noqa: SIM105 - contextlib would cost every start
                self.timeline.settle()
            except Full:
                pass  # the last words do not fit; what came before them does
            self._save()

    def _save(self) -> None:
        self.timeline.session.save(self.path)

"""How families of models mark what they think before they answer, and how a chat template shows the family."""

from __future__ import annotations


class Marks:
    """What stands around thoughts, and around the answer behind them where that has marks of its own.

    `shown` are texts of which a template of the family has all. `channels` says that an answer is messages on named
    channels, as of gpt-oss, of which one is for thoughts: `closing` is then all that leads from them to the next one.
    """

    def __init__(self, opening: str, closing: str, *, said: tuple[str, str] = ("", ""), shown: tuple[str, ...] = (),
                 channels: bool = False) -> None:
        self.opening, self.closing, self.said = opening, closing, said
        self.shown = shown or (opening,)
        self.channels = channels

    @property
    def cut(self) -> str:
        """The text that ends thoughts before the model does, as the model would have written it."""
        if self.channels:
            return f"{self.closing}<|channel|>final<|message|>"
        return f"\n{self.closing}\n\n" if self.closing == "</think>" and not self.said[0] else self.closing


# The first that a template shows is taken: the more particular ones come first.
FAMILIES = (
    Marks("<|channel|>analysis<|message|>", "<|end|><|start|>assistant", shown=("<|channel|>", "<|message|>"),
          channels=True),
    Marks("<|START_THINKING|>", "<|END_THINKING|>", said=("<|START_RESPONSE|>", "<|END_RESPONSE|>")),
    Marks("Here is my thought process:", "Here is my response:"),
    Marks("[THINK]", "[/THINK]"),
    Marks("<seed:think>", "</seed:think>"),
    Marks("<think>", "</think>", said=("<response>", "</response>"), shown=("<think>", "<response>")),
    Marks("<think>", "</think>"),
    Marks("<think>", "</think>", shown=("</think>",)),
)


def marks_of(template: str) -> Marks | None:
    """Return the marks of a template's family, or None where it says nothing of thoughts."""
    return next((marks for marks in FAMILIES if all(text in template for text in marks.shown)), None)

"""Long pastes in the editor: each is one character in the line, shown as a note of its size, until the turn is sent."""

from __future__ import annotations

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_len
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments

LINES, CHARACTERS = 12, 2000  # up to which a paste is shown as it is
FIRST, COUNT = 0x10F000, 0x800  # characters for private use that stand for pastes


class Pasted(Processor):
    """Keeps the texts and shows their signs; a processor of prompt_toolkit."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def sign(self, text: str) -> str:
        """Return what to put into the line for a paste: its sign, or the text itself where that is short."""
        short = text.count("\n") < LINES and len(text) <= CHARACTERS
        if short or len(self._texts) == COUNT:
            return text
        self._texts.append(text)
        return chr(FIRST + len(self._texts) - 1)

    def expanded(self, line: str) -> str:
        """Return a turn with the pasted texts in place of their signs."""
        return "".join(self._text(character) or character for character in line) if self._texts else line

    def _text(self, character: str) -> str:
        number = ord(character) - FIRST
        return self._texts[number] if 0 <= number < len(self._texts) else ""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Show each sign of one line as how much was pasted; the cursor passes it in one step."""
        if not self._texts:
            return Transformation(transformation_input.fragments)
        shown: StyleAndTextTuples = []
        starts = [0]  # in what is shown, of each character of the line and of its end
        for style, character, *_ in explode_text_fragments(transformation_input.fragments):
            text = self._text(character)
            lines = text.count("\n") + 1
            note = f"[pasted {lines:,} lines]" if lines > 1 else f"[pasted {len(text):,} characters]"
            shown.append(("class:pasted", note) if text else (style, character))
            starts.append(starts[-1] + (len(note) if text else len(character)))
        end = len(starts) - 1

        def to_display(position: int) -> int:
            return starts[position] if position <= end else starts[end] + position - end

        def to_source(position: int) -> int:
            found = next((at for at in range(end) if position < starts[at + 1]), None)
            return end + max(0, position - fragment_list_len(shown)) if found is None else found

        return Transformation(shown, to_display, to_source)

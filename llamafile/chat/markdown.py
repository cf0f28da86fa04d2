"""Markdown as a model writes it, as lines for a terminal, in nothing but the terminal's own sixteen colours."""

from __future__ import annotations

import io
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments.token import Comment, Error, Generic, Keyword, Name, Number, Operator, String
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.text import Text
from rich.theme import Theme

from llamafile.chat.harmless import seen

PROSE = 100  # columns at most: longer lines are hard to read
MOST_CODE = 100_000  # characters of a block that is still highlighted

_DIM = Style(dim=True)
_COLORS = ColorSystem.STANDARD
_STYLES = Theme({
    "markdown.h1": "bold underline", "markdown.h2": "bold", "markdown.h3": "bold", "markdown.h4": "bold",
    "markdown.h5": "bold", "markdown.h6": "bold", "markdown.code": "cyan", "markdown.code_block": "none",
    "markdown.block_quote": "dim", "markdown.item.bullet": "none", "markdown.item.number": "none",
    "markdown.link": "none", "markdown.link_url": "blue underline", "markdown.table.border": "dim",
    "markdown.table.header": "bold",
})  # fmt: skip
_CODE = ANSISyntaxTheme({
    Comment: Style(color="bright_black", italic=True), Keyword: Style(color="magenta"), String: Style(color="green"),
    Number: Style(color="cyan"), Name.Function: Style(color="blue"), Name.Class: Style(color="yellow"),
    Name.Builtin: Style(color="cyan"), Name.Decorator: Style(color="yellow"), Name.Tag: Style(color="blue"),
    Name.Attribute: Style(color="yellow"), Name.Exception: Style(color="yellow"), Operator.Word: Style(color="magenta"),
    Generic.Deleted: Style(color="red"), Generic.Inserted: Style(color="green"), Generic.Heading: Style(bold=True),
    Comment.Preproc: Style(color="yellow"), Error: Style.null(),
})  # fmt: skip


class Block(NamedTuple):
    """A paragraph, heading, list item, fence, ... of a text: its tokens and its lines, from `start` to before `end`."""

    kind: str
    tokens: list[Token]
    start: int
    end: int


class _Code(CodeBlock):
    """A code block between dim fences, so that what is copied from the screen is the code."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("```" + ("" if self.lexer_name == "text" else self.lexer_name), _DIM)
        yield highlighted(str(self.text).removesuffix("\n"), self.lexer_name)
        yield Text("```", _DIM)


class _Heading(Heading):
    """A heading at the left, like all else."""

    LEVEL_ALIGN = {f"h{level}": "left" for level in range(1, 7)}  # noqa: RUF012 - rich's own name and form


class _Item(ListItem):
    """An item of a list behind a bullet, or its number and a full stop."""

    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._behind("\u2022 ", console, options)

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        yield from self._behind(f"{number}. ", console, options)

    def _behind(self, mark: str, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update(width=max(4, options.max_width - len(mark)))
        # A number and a full stop may be the whole answer.
        for row in console.render_lines(self.elements, inner, style=self.style) or [[]]:
            yield Segment(mark)
            yield from row
            yield Segment.line()
            mark = " " * len(mark)


class _Document(Markdown):
    """Rich's Markdown over tokens that were parsed already."""

    elements = {**Markdown.elements, "fence": _Code, "code_block": _Code, "heading_open": _Heading,  # noqa: RUF012
                "list_item_open": _Item}

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("", hyperlinks=False)  # where a link leads is to be seen
        self.parsed = tokens


def highlighted(code: str, language: str) -> Text:
    """Return code in colours, plain where the language is unknown."""
    lexer = _lexer(language) if len(code) <= MOST_CODE else None
    if lexer is None:
        return Text(code, overflow="fold")
    text = Syntax(code, lexer, theme=_CODE, word_wrap=True).highlight(code)
    text.rstrip()
    text.overflow = "fold"
    return text


def _lexer(language: str) -> object:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language.strip().lower(), stripnl=False, ensurenl=False)
    except (ClassNotFound, ImportError):  # one of the rare ones, which the executable leaves out
        return None


class Renderer:
    """Parses Markdown and renders it for a terminal of some width, without colours if so wished."""

    def __init__(self, no_color: bool) -> None:
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
        self._console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", no_color=no_color,
                                theme=_STYLES, highlight=False, emoji=False, markup=False, legacy_windows=False)
        self._no_color = no_color

    def blocks(self, source: str) -> list[Block]:
        """Return the blocks of a text in order; the items of a list are blocks of their own."""
        tokens = self._parser.parse(source)
        for token in tokens:
            _tame(token)
        found: list[Block] = []
        first = 0
        for at, token in enumerate(tokens):
            if token.level == 0 and token.nesting <= 0:
                whole = tokens[first : at + 1]
                first = at + 1
                if whole[0].type in ("bullet_list_open", "ordered_list_open"):
                    found += _items(whole)
                elif whole[0].map:
                    found.append(Block(whole[0].type.removesuffix("_open"), whole, *whole[0].map))
        return found

    def lines(self, block: Block, columns: int) -> list[str]:
        """Return a block as lines for that many columns."""
        wide = block.kind in ("fence", "code_block", "table")
        return self.render(_Document(block.tokens), columns if wide else min(columns, PROSE))

    def code(self, code: str, language: str, columns: int) -> list[str]:
        """Return code as highlighted lines."""
        return self.render(highlighted(code, language), columns)

    def dim(self, text: str, columns: int) -> list[str]:
        """Return plain text as dim lines."""
        return self.render(Text(text, _DIM, overflow="fold"), min(columns, PROSE))

    def render(self, thing: object, columns: int) -> list[str]:
        """Return what rich can render as lines, without the blank ones around it."""
        options = self._console.options.update(width=max(8, columns), height=None)
        rows = self._console.render_lines(thing, options, pad=False)  # type: ignore[arg-type]
        lines = [self._line(row) for row in rows]
        while lines and not lines[-1]:
            lines.pop()
        while lines and not lines[0]:
            lines.pop(0)
        return lines

    def _line(self, row: list[Segment]) -> str:
        if self._no_color:
            row = list(Segment.remove_color(row))
        parts = [(text, style) for text, style, _ in row]
        while parts and not (last := parts.pop())[0].isspace():  # rich fills up lines with spaces
            parts.append((last[0].rstrip(), last[1]))
            break
        return "".join(style.render(text, color_system=_COLORS) if style else text for text, style in parts)


def _tame(token: Token) -> None:
    """Take out of a token what a terminal must not see, and what rich would not show as chats do."""
    token.content, token.info = seen(token.content), seen(token.info).strip()
    if "href" in token.attrs:
        token.attrs["href"] = seen(str(token.attrs["href"]))
    if token.type == "softbreak":  # models mean their line breaks
        token.type = "hardbreak"
    if token.type == "image":
        alt, source = token.content, seen(str(token.attrs.get("src", "")))
        token.type, token.tag, token.content, token.children = "text", "", f"{alt} ({source})".lstrip(), None
    for child in token.children or ():
        _tame(child)
    if token.children:
        token.children = list(_without_echoes(token.children))


def _without_echoes(tokens: list[Token]) -> list[Token]:
    """Leave out the links whose text is where they lead."""
    kept = list(tokens)
    for at in range(len(kept) - 2, -1, -1):
        if kept[at].type == "link_open" and kept[at + 1].content == kept[at].attrs.get("href"):
            del kept[at + 2], kept[at]
    return kept


def _items(tokens: list[Token]) -> list[Block]:
    """Return the items of a list as blocks: each is a list of one, with its own number."""
    opening, closing = tokens[0], tokens[-1]
    number, first = int(opening.attrs.get("start", 1)), 1
    found: list[Block] = []
    for at in range(1, len(tokens) - 1):
        if tokens[at].level == 1 and tokens[at].nesting == -1:
            start = Token(opening.type, opening.tag, 1, attrs={**opening.attrs, "start": number + len(found)})
            item = tokens[first : at + 1]
            lines = item[0].map or [0, 0]
            found.append(Block("item", [start, *item, closing], lines[0], lines[1]))
            first = at + 1
    return found

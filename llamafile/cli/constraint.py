"""The grammar or JSON schema that --grammar, --json-schema and their files ask every answer to follow."""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.grammar import Grammar
    from llamafile.tokens import Tokenizer


def of(options: Options, tokenizer: Tokenizer) -> Grammar | None:
    """Return the grammar that the flags give, or None; raises LlamafileError naming the flag and the place in it."""
    for kind, flag, text, path in (
        ("gbnf", "--grammar", options.grammar, options.grammar_file),
        ("json_schema", "--json-schema", options.json_schema, options.json_schema_file),
    ):
        if path is not None:
            return _compiled(kind, f"{flag}-file {path}", _read(path), tokenizer)
        if text:
            return _compiled(kind, flag, text, tokenizer)
    return None


def _read(path: str) -> str:
    from llamafile.locate import read_bytes

    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as wrong:
        raise LlamafileError(f"{path}: is not UTF-8 at byte {wrong.start}; save it as UTF-8") from None


def _compiled(kind: str, flag: str, text: str, tokenizer: Tokenizer) -> Grammar:
    from llamafile import grammar

    try:
        return grammar.compile(kind, text, tokenizer)
    except LlamafileError as wrong:
        where = str(wrong).removeprefix("grammar: ").removeprefix("JSON schema: ")
        raise LlamafileError(f"{flag}: {where}") from None

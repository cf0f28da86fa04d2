"""Flags about the form of answers: a grammar or a JSON schema that each must follow."""

from __future__ import annotations

from llamafile.flags.row import PATH, TEXT, Flag

GROUP = "Form of the answer"

FLAGS = (
    Flag("--grammar", "grammar", TEXT, None,
         "Grammar that every answer must follow, as in 'root ::= \"yes\" | \"no\"'.", metavar="GBNF",
         replaces=("grammar_file", "json_schema", "json_schema_file")),
    Flag("--grammar-file", "grammar_file", PATH, None, "File with that grammar.",
         replaces=("grammar", "json_schema", "json_schema_file")),
    Flag("-j --json-schema", "json_schema", TEXT, None, "JSON schema that every answer must follow; {} is any JSON.",
         metavar="JSON", replaces=("grammar", "grammar_file", "json_schema_file")),
    Flag("-jf --json-schema-file", "json_schema_file", PATH, None, "File with that schema.",
         replaces=("grammar", "grammar_file", "json_schema")),
)

"""Tests of llamafile/tool_calls: formats, constraints, and the parser under any split of any text."""

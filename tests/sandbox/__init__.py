"""The sandbox: its filter against an interpreter and a table of its own, and its effects in real processes."""

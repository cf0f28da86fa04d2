"""The tests of the box; oracles are ZIP programs, Python's zipfile and the parser in parse.py."""

"""Tests of llamafile.tokens."""

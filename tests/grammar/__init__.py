"""Tests of llamafile/grammar: notations against independent readers, masks against brute force, and bad input."""

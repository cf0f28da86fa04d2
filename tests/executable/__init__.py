"""Tests of the built executable, run as a user runs it."""

"""Tests of speculation: the text with guesses is the text without, and guessing stops where it does not pay."""

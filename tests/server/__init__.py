"""Tests of the HTTP server, against the real one as a process of its own."""

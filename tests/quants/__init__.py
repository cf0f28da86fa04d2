"""Tests of the number formats: declarations, decode, integer form, encoders."""

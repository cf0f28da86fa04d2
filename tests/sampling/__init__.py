"""Tests of the sampler against a reference written in numpy from the published definitions."""

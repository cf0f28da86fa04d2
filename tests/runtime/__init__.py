"""Tests of the machine: ops against their numpy bodies on every instruction set, programs, the pool, the build."""

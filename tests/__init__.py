"""The tests of every room, found by pytest; oracles are independent of the code under test."""

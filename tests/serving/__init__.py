"""Tests of the serving core: the scheduler, its pages, its texts."""

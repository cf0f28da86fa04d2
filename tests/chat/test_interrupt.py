"""Ctrl-C by the moment at which it comes: it stops an answer, leaves a question, and is let go once in between."""

from __future__ import annotations

import signal

import pytest

from llamafile.chat.interrupt import Interrupt


@pytest.fixture
def interrupt():
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield Interrupt()
    for number, handler in before:
        signal.signal(number, handler)


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_where_somebody_is_asked_it_leaves(interrupt):
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()
    interrupt.begin()
    interrupt.ask()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_during_an_answer_it_stops_that_and_one_more_leaves(interrupt):
    stops = []
    interrupt.begin()
    interrupt.during(lambda: stops.append(1))
    ctrl_c()
    assert stops == [1] and interrupt.stopped
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()
    assert stops == [1]


def test_a_moment_too_late_it_does_not_end_the_conversation(interrupt):
    """For each turn anew, and once only: what hangs can be left."""
    for _ in range(2):
        interrupt.begin()
        interrupt.during(bool)
        interrupt.after()
        ctrl_c()
        assert not interrupt.stopped
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()

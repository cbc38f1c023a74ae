"""Requests that nobody answers: how long they wait by our own clock alone."""

from __future__ import annotations

from support.dispatching import HandClock
from tunewatch.app.overdue import Overdue
from tunewatch.store.requests import Request

HOUR = 3600.0


def request(number, at=0.0):
    return Request(number, "share", 1, b"r1", at)


def test_one_is_overdue_when_it_was_seen_for_long_enough():
    clock = HandClock()
    overdue = Overdue(clock, 600.0)
    assert overdue.among([request(1)]) == set()
    clock.advance(500.0)
    assert overdue.among([request(1), request(2)]) == set()
    clock.advance(200.0)
    assert overdue.among([request(1), request(2)]) == {1}
    clock.advance(500.0)
    assert overdue.among([request(2)]) == {2}


def test_the_clock_of_who_asked_does_not_count():
    clock = HandClock()
    overdue = Overdue(clock, 600.0)
    made_at = [clock.now() + off_by for off_by in (-HOUR, 0.0, HOUR, 9000 * HOUR)]
    assert overdue.among(request(n, at) for n, at in enumerate(made_at)) == set()


def test_one_that_was_answered_and_comes_anew_waits_anew():
    clock = HandClock()
    overdue = Overdue(clock, 600.0)
    overdue.among([request(1)])
    clock.advance(700.0)
    assert overdue.among([]) == set()
    assert overdue.among([request(1)]) == set()

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.dispatching import HandClock, Recorder, gate
from tunewatch.dispatch.patience import (
    LONGEST_WAIT,
    OF_ITS_OWN,
    OF_THE_EVENT,
    asked,
    probe_wait,
)
from tunewatch.dispatch.seats import Seat


def seated(ops, woken=None):
    seat = Seat(wake=lambda: woken.append(seat) if woken is not None else None)
    ops.join(seat)
    return seat


def test_as_many_are_out_as_the_concurrency_allows():
    ops = gate(Recorder(), clock=HandClock(), concurrency=3)
    seat = seated(ops)
    permits = [ops.admit(seat) for _ in range(5)]
    assert [permit is not None for permit in permits] == [True] * 3 + [False] * 2
    ops.accepted(permits[0])
    assert ops.admit(seat) is not None
    assert ops.admit(seat) is None


def test_who_waited_longest_is_served_first():
    woken = []
    ops = gate(Recorder(), clock=HandClock(), concurrency=1)
    greedy, patient = seated(ops, woken), seated(ops, woken)
    permit = ops.admit(greedy)
    assert ops.admit(patient) is None
    ops.accepted(permit)
    assert patient in woken
    assert ops.admit(greedy) is None
    permit = ops.admit(patient)
    assert permit is not None
    ops.accepted(permit)
    assert ops.admit(greedy) is not None


def test_who_wants_nothing_more_holds_up_nobody():
    ops = gate(Recorder(), clock=HandClock(), concurrency=1)
    first, second = seated(ops), seated(ops)
    permit = ops.admit(first)
    assert ops.admit(second) is None
    ops.content(second)
    ops.accepted(permit)
    assert ops.admit(first) is not None


def test_trouble_is_one_trouble_however_many_were_out():
    clock = HandClock()
    ops = gate(Recorder(), clock=clock, concurrency=4, jitter=0.5)
    seat = seated(ops)
    for permit in [ops.admit(seat) for _ in range(4)]:
        ops.failed(permit, "503", None)
    assert ops.next_at() == clock.monotonic() + 5.0


def test_what_was_out_before_the_trouble_does_not_end_it():
    clock = HandClock()
    ops = gate(Recorder(), clock=clock, concurrency=2)
    seat = seated(ops)
    one, two = ops.admit(seat), ops.admit(seat)
    ops.failed(one, "429", 60.0)
    ops.accepted(two)
    assert ops.state().state == "probing"
    clock.advance(59.0)
    assert ops.admit(seat) is None
    clock.advance(1.0)
    probe = ops.admit(seat)
    assert ops.admit(seat) is None
    ops.accepted(probe)
    assert ops.state().state == "up"


def test_a_closed_plugin_lets_nothing_out_and_says_why():
    ops = gate(Recorder(), clock=HandClock())
    seat = seated(ops)
    ops.closed("broker down")
    assert ops.admit(seat) is None
    assert (ops.state().state, ops.state().reason) == ("probing", "broker down")
    ops.opened(Recorder())
    assert ops.admit(seat) is not None
    assert ops.state().state == "up"


@given(rate=st.floats(0.1, 2000.0), concurrency=st.integers(1, 64))
def test_no_second_has_more_sends_than_the_rate_allows(rate, concurrency):
    clock = HandClock()
    ops = gate(Recorder(), clock=clock, rate=rate, concurrency=concurrency)
    seat = seated(ops)
    sent = []
    for _ in range(300):
        permit = ops.admit(seat)
        if permit is None:
            clock.advance(min(1 / rate / 7, 0.05))
            continue
        sent.append(clock.monotonic())
        ops.accepted(permit)
    for begin in sent:
        count = sum(begin <= at < begin + 1.0 for at in sent)
        assert count <= max(math.ceil(rate), rate * 1.05)


@given(st.one_of(st.none(), st.floats()))
def test_what_a_receiver_asks_for_is_kept_in_bounds(after):
    wait = asked(after)
    assert 0.0 <= wait <= LONGEST_WAIT
    if after is not None and 1.0 <= after <= LONGEST_WAIT:
        assert wait == after


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_probes_never_come_faster_than_four_seconds_nor_slower_than_72(
    failures, jitter
):
    assert 4.0 <= probe_wait(failures, None, jitter) <= 72.0


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_an_event_in_trouble_of_its_own_has_ten_tries_over_an_hour_at_least(jitter):
    waits = [OF_ITS_OWN.wait(tries, None, jitter) for tries in range(1, 11)]
    assert waits[-1] is None
    assert None not in waits[:-1]
    assert math.fsum(waits[:-1]) >= 3600


def test_an_event_that_is_blamed_has_five_tries():
    waits = [OF_THE_EVENT.wait(tries, None, 0.0) for tries in range(1, 6)]
    assert waits == [5.0, 30.0, 120.0, 600.0, None]

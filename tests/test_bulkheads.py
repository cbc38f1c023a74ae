"""Threads of each owner apart: who blocks all of its own holds up nobody else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from concurrent.futures import wait
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewatch.bulkheads import OURS, Bulkheads, bulkhead

TOO_LARGE = 2**46
"""Bytes of a stack that no system gives."""
SOON = 10.0
"""s within which what nothing holds up is done, on a machine that does other things."""


@contextmanager
def blocked(threads, owner, calls):
    """Let so many calls of an owner be at work until the block ends."""
    go_on = threading.Event()
    with bulkhead(owner):
        made = [threads.submit(go_on.wait) for _ in range(calls)]
    try:
        yield made
    finally:
        go_on.set()
        wait(made, SOON)


def test_who_blocks_all_of_its_threads_holds_up_nobody_else():
    threads = Bulkheads(most=2)
    with blocked(threads, "plugins.a", 5) as stuck:
        with bulkhead("plugins.b"):
            assert threads.submit(lambda: "b").result(SOON) == "b"
        assert threads.submit(lambda: "ours").result(SOON) == "ours"
        assert [one.done() for one in stuck] == [False] * 5
        assert threads.at_work() == {"plugins.a": 2}
    assert [one.result(SOON) for one in stuck] == [True] * 5
    assert threads.at_work() == {}


@settings(max_examples=30, deadline=None)
@given(
    most=st.integers(1, 3),
    owners=st.lists(st.sampled_from(["a", "b", OURS]), min_size=1, max_size=30),
)
def test_every_call_is_made_once_and_no_owner_has_more_than_its_share(most, owners):
    threads, guard, now, highest, done = Bulkheads(most), threading.Lock(), {}, {}, []

    def work(owner, number):
        with guard:
            now[owner] = now.get(owner, 0) + 1
            highest[owner] = max(highest.get(owner, 0), now[owner])
        time.sleep(0.0005)
        with guard:
            now[owner] -= 1
            done.append(number)
        return number

    made = []
    for number, owner in enumerate(owners):
        with bulkhead(owner):
            made.append(threads.submit(work, owner, number))
    assert [one.result(SOON) for one in made] == list(range(len(owners)))
    assert sorted(done) == list(range(len(owners)))
    assert max(highest.values()) <= most
    threads.shutdown()
    assert threads.at_work() == {}


def test_one_after_the_other_they_need_one_thread():
    threads, used = Bulkheads(), set()
    for owner in ("plugins.a", "plugins.b", OURS, "plugins.a"):
        with bulkhead(owner):
            used.add(threads.submit(threading.get_ident).result(SOON))
        until(lambda: threads.at_work() == {})
    assert len(used) == 1


def test_a_thread_without_work_ends():
    threads = Bulkheads(idle=0.05)
    one = threads.submit(threading.current_thread).result(SOON)
    one.join(SOON)
    assert not one.is_alive()
    assert threads.submit(lambda: 1).result(SOON) == 1


def test_what_a_call_raises_is_raised_where_it_is_awaited_and_kept_by_nobody():
    threads = Bulkheads()

    class Odd(BaseException):
        pass

    def fails():
        raise Odd

    gc.disable()
    try:
        future = threads.submit(fails)
        with pytest.raises(Odd):
            future.result(SOON)
        kept = weakref.ref(future)
        until(lambda: threads.at_work() == {})
        del future
        assert kept() is None, "a circle, left to the collector"
    finally:
        gc.enable()


def test_a_call_that_is_given_up_while_it_waits_is_not_made():
    threads, made = Bulkheads(most=1), []
    with blocked(threads, OURS, 1):
        waiting = threads.submit(made.append, "it was")
        assert waiting.cancel()
    assert threads.submit(lambda: "the next").result(SOON) == "the next"
    assert made == []


def test_the_end_waits_a_moment_for_calls_and_for_none_that_hangs():
    threads = Bulkheads(most=1, farewell=0.2)
    with blocked(threads, "plugins.a", 2) as (at_work, behind):
        began = time.monotonic()
        threads.shutdown()
        assert 0.2 <= time.monotonic() - began < SOON
        assert behind.cancelled()
        assert not at_work.done()
        assert threads.at_work() == {"plugins.a": 1}
        with pytest.raises(RuntimeError, match="all is shut down"):
            threads.submit(lambda: 1)


def test_the_end_waits_for_what_is_about_to_be_done():
    threads = Bulkheads()
    last = threads.submit(time.sleep, 0.1)
    threads.shutdown()
    assert last.done()


def test_if_no_thread_can_be_had_whoever_asks_is_told_and_the_rest_goes_on():
    threads = Bulkheads()
    before = threading.stack_size(TOO_LARGE)
    try:
        with pytest.raises(RuntimeError, match="can't start"):
            threads.submit(lambda: 1)
    finally:
        threading.stack_size(before)
    assert threads.at_work() == {}
    assert threads.submit(lambda: 2).result(SOON) == 2


async def test_a_task_passes_its_owner_on_to_the_tasks_and_threads_it_begins():
    threads = Bulkheads(most=1)
    asyncio.get_running_loop().set_default_executor(threads)
    go_on, begun = threading.Event(), asyncio.Event()

    async def within():
        begun.set()
        await asyncio.to_thread(go_on.wait, SOON)

    with bulkhead("plugins.a"):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(within(), name="within")
            try:
                await begun.wait()
                assert threads.at_work() == {"plugins.a": 1}
                with bulkhead(OURS):
                    async with asyncio.timeout(SOON):
                        assert await asyncio.to_thread(lambda: "ours") == "ours"
            finally:
                go_on.set()


def until(is_so):
    due = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < due
        time.sleep(0.001)

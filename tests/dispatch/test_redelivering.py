from __future__ import annotations

import asyncio

import pytest

from support.dispatching import (
    Recorder,
    desk,
    gate,
    message_of,
    quiet,
    until,
)
from tunewatch.store.redelivery import RedeliveryAsked, encode_redelivery


async def test_a_redelivery_has_the_same_bytes_and_its_own_lane_and_closes_the_letter(
    store_url,
):
    async with desk(store_url) as d:
        from tunewatch.plugin import Reject

        bad = {"bad"}

        def judge(delivery):
            if message_of(delivery) in bad:
                raise Reject("no")

        sink = Recorder(judge)
        ops = gate(sink, clock=d.clock)
        async with d.dispatching(ops) as dispatcher:
            done = await d.tell("ftjob-1", "bad", "good")
            await quiet(dispatcher)
            bad.clear()
            letter = await d.one("SELECT id FROM dead_letter")
            await d.store.requests.add(
                "redeliver",
                d.fence.source_id,
                encode_redelivery(RedeliveryAsked(plugin="ops", letter=letter)),
            )
            for request in await d.store.requests.pending(["redeliver"]):
                assert await dispatcher.redeliver(request) is None
                assert await dispatcher.redeliver(request) is None
            await until(lambda: len(sink.got) == 2)
        again = sink.got[1]
        [ref] = [ref for ref in done.events if b'"bad"' in ref.body]
        assert (again.body, again.event.id) == (ref.body, ref.id)
        assert again.redelivered
        assert await d.one("SELECT closed_at IS NOT NULL FROM dead_letter")
        assert await d.rows("SELECT * FROM request") == []
        assert await d.rows("SELECT * FROM lane") == []


async def test_a_redelivery_of_everything_since_survives_a_kill(sqlite_url):
    async with desk(sqlite_url) as d:
        sink = Recorder()
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", *(f"{n}" for n in range(30)))
            await quiet(dispatcher)
        asked = RedeliveryAsked(plugin="ops", since=d.clock.now() - 60)
        await d.store.requests.add(
            "redeliver", d.fence.source_id, encode_redelivery(asked)
        )
        [request] = await d.store.requests.pending(["redeliver"])
        enough = asyncio.Event()

        async def ten(_delivery):
            if len(again.got) == 10:
                enough.set()
                await asyncio.Event().wait()

        again = Recorder(ten)
        async with d.killed(gate(again, clock=d.clock)) as dispatcher:
            await dispatcher.redeliver(request)
            await enough.wait()
        rest = Recorder()
        async with d.dispatching(gate(rest, clock=d.clock)) as dispatcher:
            [request] = await d.store.requests.pending(["redeliver"])
            await dispatcher.redeliver(request)
            await until(lambda: rest.texts[-1:] == ["29"])
        assert again.texts + rest.texts == [str(n) for n in range(30)]
        assert all(got.redelivered for got in rest.got)
        assert await d.rows("SELECT * FROM request") == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (RedeliveryAsked(plugin="ops", letter=77), "there is no dead letter 77"),
        (RedeliveryAsked(plugin="ops", event="evt_x"), "event evt_x is not kept"),
        (RedeliveryAsked(plugin="nobody", since=0.0), "plugin nobody is not"),
    ],
)
async def test_a_redelivery_that_cannot_be_done_is_refused_with_the_reason(
    sqlite_url, asked, why
):
    async with desk(sqlite_url) as d:
        await d.tell("ftjob-1", "one")
        async with d.dispatching(gate(Recorder(), clock=d.clock)) as dispatcher:
            await d.store.requests.add(
                "redeliver", d.fence.source_id, encode_redelivery(asked)
            )
            [request] = await d.store.requests.pending(["redeliver"])
            said = await dispatcher.redeliver(request)
            assert said is not None
            assert said.startswith(why)

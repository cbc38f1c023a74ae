"""Every call of a plugin is in the delivery log, with what it came to."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import pytest
from sqlalchemy import text

from support.dispatching import Recorder, desk, gate, message_of, passes, quiet, until
from tunewatch.plugin import Pause, Receipt, Reject, Retry
from tunewatch.store.lane_records import Attempt, Group, LaneRow, Turn
from tunewatch.store.lanes import settle_group
from tunewatch.store.records import LeaseLost


async def log_of(d):
    """Return the log, oldest first."""
    return (await d.store.reads.deliveries.attempts(limit=1000))[::-1]


async def test_a_call_is_logged_with_all_that_is_known_of_it(store_url):
    async with desk(store_url) as d:

        def answer(_delivery):
            d.clock.advance(0.25)
            return Receipt(202, "taken, thank you")

        begun = d.clock.now()
        async with d.dispatching(gate(Recorder(answer), clock=d.clock)) as dispatcher:
            done = await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        [one] = await log_of(d)
        [ref] = [ref for ref in done.events if b'"one"' in ref.body]
        assert (one.plugin, one.source, one.job_id) == ("ops", "research", "ftjob-1")
        assert (one.event_id, one.event_type) == (ref.id, ref.type)
        assert (one.position, one.number, one.redelivery) == (ref.position, 1, None)
        assert (one.at, one.seconds) == pytest.approx((begun, 0.25))
        assert (one.outcome, one.reason) == ("accepted", None)
        assert (one.status, one.answer) == (202, "taken, thank you")


REFUSALS = {
    "receiver": Retry("503", receipt=Receipt(503, "later")),
    "event": Retry("400", scope="lane", receipt=Receipt(400, "what is this?")),
    "rejected": Reject("never", receipt=Receipt(451, "no")),
    "paused": Pause("410 Gone", receipt=Receipt(410, "gone")),
    "exception": RuntimeError("a secret that a library quotes"),
    "timeout": TimeoutError(),
}


@pytest.mark.parametrize("outcome", REFUSALS)
async def test_what_was_not_accepted_is_logged_by_its_class_with_the_reason(
    sqlite_url, outcome
):
    error = REFUSALS[outcome]

    def refuse(_delivery):
        raise error

    async with desk(sqlite_url) as d:
        async with d.dispatching(gate(Recorder(refuse), clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        [one] = await log_of(d)
        assert one.outcome == outcome
        assert one.reason
        assert "secret" not in one.reason
        receipt = getattr(error, "receipt", None) or Receipt()
        assert (one.status, one.answer) == (receipt.status, receipt.answer or None)


async def test_every_try_of_an_event_is_a_line_of_its_own(store_url):
    async with desk(store_url) as d:

        def blame(_delivery):
            raise Retry("400 Bad Request", scope="lane")

        async with d.dispatching(gate(Recorder(blame), clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "bad")
            await passes(d, dispatcher, 900.0, steps=30)
        log = await log_of(d)
        assert [one.number for one in log] == [1, 2, 3, 4, 5]
        assert {one.outcome for one in log} == {"event"}
        assert sorted(one.at for one in log) == [one.at for one in log]
        assert len(await d.rows("SELECT * FROM dead_letter")) == 1


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "OK",
        {"status": 200},
        Receipt(True, "yes"),
        Receipt("200", None),
        Receipt(10**30, b"bytes"),
        object(),
    ],
)
async def test_whatever_a_plugin_returns_it_has_accepted_the_event(
    sqlite_url, returned
):
    async with desk(sqlite_url) as d:
        sink = Recorder(lambda _: returned)
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
        assert sink.texts == ["one", "two"]
        log = await log_of(d)
        assert [one.outcome for one in log] == ["accepted"] * 2
        assert [one.status for one in log] == [None] * 2
        assert log[0].answer in (None, "yes")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("x" * 5000, "x" * 1024),
        ("ä" * 5000, "ä" * 512),
        ("\x1b[31mred\x1b[0m\r\n\x00", "[31mred [0m"),
        ("lone \ud800 surrogate", "lone   surrogate"),
        (" \n ", None),
    ],
)
async def test_an_answer_is_kept_short_and_cannot_steer_a_terminal(
    store_url, said, kept
):
    async with desk(store_url) as d:
        sink = Recorder(lambda _: Receipt(200, said))
        async with d.dispatching(gate(sink, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        [one] = await log_of(d)
        assert one.answer == kept


async def test_the_line_and_the_acknowledgement_are_one_transaction(store_url):
    """What is finished in the store is in the log, whenever the process dies."""
    async with desk(store_url) as d:
        sink = Recorder(lambda _: asyncio.sleep(0.001))
        async with d.dispatching(gate(Recorder(), clock=d.clock)):
            pass
        for kill in range(8):
            async with d.killed(gate(sink, clock=d.clock, concurrency=4)):
                await d.tell_all({f"ftjob-{n}": [f"{kill}"] for n in range(12)})
                enough = len(sink.got) + 6
                await until(lambda enough=enough: len(sink.got) >= enough)
            finished = await d.rows(
                "SELECT e.position FROM event e"
                " JOIN mark m ON e.source_id = m.source_id"
                " LEFT JOIN lane l ON l.job_key = e.job_key"
                " WHERE e.type = 'fine_tuning.event.message'"
                " AND e.position <= coalesce(l.cursor, m.position)"
            )
            # Read later: a write that was under way at the kill may end in between.
            logged = {one.position for one in await log_of(d)}
            assert {position for [position] in finished} <= logged
        calls = len(sink.got)
        lines = len(await log_of(d))
        assert calls - 8 * 4 <= lines <= calls, "at most what was out is missing"


async def test_a_group_that_is_written_again_logs_nothing_twice(store_url):
    """As after a commit of unknown outcome."""
    async with desk(store_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one", "two")
            await quiet(dispatcher)
        line = (
            1,
            91,
            "evt_1",
            1,
            None,
            d.clock.now(),
            0.5,
            "accepted",
            200,
            None,
            "ok",
        )
        other = (1, 92, "evt_2", 1, None, d.clock.now(), 0.5, "rejected", 400, "no", "")
        turn = Turn(
            plugin="ops",
            mark=9,
            in_flight=(),
            attempts=(Attempt(*line), Attempt(*other)),
        )
        group = Group(at=d.clock.now(), turns=(turn,))
        before = len(await log_of(d))
        for again in (False, True, True):
            given = msgspec.structs.replace(group, again=again)
            await d.store.carrier.write(
                partial(settle_group, fence=d.fence, group=given)
            )
            assert len(await log_of(d)) == before + 2


async def test_a_group_under_a_lease_that_somebody_else_took_writes_nothing(store_url):
    async with desk(store_url) as d:
        line = (1, 90, "evt_1", 1, None, d.clock.now(), 0.25, "accepted", 200, None, "")
        row = LaneRow(1, 90)
        turn = Turn(
            plugin="ops", mark=9, in_flight=(), rows=(row,), attempts=(Attempt(*line),)
        )
        group = Group(at=d.clock.now(), turns=(turn,), bodies=(1, 2))
        before = await log_of(d)
        former = d.fence._replace(token=d.fence.token - 1)
        with pytest.raises(LeaseLost):
            await d.store.carrier.write(
                partial(settle_group, fence=former, group=group)
            )
        assert await log_of(d) == before
        assert await d.one("SELECT count(*) FROM lane") == 0


async def test_what_a_stop_breaks_off_is_logged_as_that(sqlite_url):
    async with desk(sqlite_url) as d:
        for_ever = asyncio.Event()
        sink = Recorder(lambda _: for_ever.wait())
        async with d.dispatching(gate(sink, clock=d.clock), grace=0.0):
            await d.tell("ftjob-1", "one")
            await until(lambda: sink.out == 1)
        [one] = await log_of(d)
        assert (one.outcome, one.number) == ("cancelled", 1)
        assert one.reason is not None
        assert one.reason.startswith("broken off")


async def test_the_log_is_asked_by_plugin_job_outcome_event_and_time(store_url):
    async with desk(store_url) as d:

        def judge(delivery):
            if message_of(delivery) == "bad":
                raise Reject("no")

        gates = [
            gate(Recorder(judge), "picky", clock=d.clock),
            gate(Recorder(), "easy", clock=d.clock),
        ]
        async with d.dispatching(*gates) as dispatcher:
            await d.tell("ftjob-1", "good", "bad")
            await quiet(dispatcher)
            d.clock.advance(3600.0)
            await d.tell("ftjob-2", "late")
            await quiet(dispatcher)
        ask = d.store.reads.deliveries.attempts
        every = await ask()
        assert [one.id for one in every] == sorted((x.id for x in every), reverse=True)
        assert len(every) == 6

        async def ids(**wanted):
            return {one.id for one in await ask(**wanted)}

        def those(condition):
            return {one.id for one in every if condition(one)}

        bad = those(lambda one: one.outcome == "rejected")
        assert len(bad) == 1
        assert await ids(outcomes=["rejected", "event"]) == bad
        assert await ids(outcomes=["accepted"]) == those(lambda one: one.id not in bad)
        assert await ids(plugin="picky") == those(lambda one: one.plugin == "picky")
        assert await ids(job_id="ftjob-2") == those(lambda one: one.job_id == "ftjob-2")
        [name] = {one.event_id for one in every if one.id in bad}
        assert await ids(event_id=name) == those(lambda one: one.event_id == name)
        late = those(lambda one: one.job_id == "ftjob-2")
        moment = d.clock.now() - 60
        assert await ids(since=moment) == late
        assert await ids(until=moment) == those(lambda one: one.id not in late)
        assert await ids(source="elsewhere") == set()
        first = await ask(limit=4)
        rest = await ask(limit=4, after=first[-1].id)
        assert [*first, *rest] == every


async def test_a_line_outlives_its_event_and_its_job(sqlite_url):
    async with desk(sqlite_url) as d:
        async with d.dispatching(gate(Recorder(), clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
        for table in ("event", "job"):
            await d.store.carrier.write(
                lambda c, table=table: c.execute(text(f"DELETE FROM {table}"))  # noqa: S608
            )
        [one] = await log_of(d)
        assert (one.job_id, one.event_type) == (None, None)
        assert one.event_id.startswith("evt_")


class Reacting:
    """A reactor that concludes nothing, or fails."""

    def __init__(self):
        self.error = None
        self.seen = 0

    async def react(self, delivery):
        self.seen += 1
        if self.error is not None:
            raise self.error
        return ()


async def test_of_a_reactor_only_what_failed_is_logged(sqlite_url):
    """What it concludes are events, and told as such."""
    async with desk(sqlite_url) as d:
        reactor = Reacting()
        async with d.dispatching(gate(reactor, clock=d.clock)) as dispatcher:
            await d.tell("ftjob-1", "one")
            await quiet(dispatcher)
            assert reactor.seen == 1
            assert await log_of(d) == []
            reactor.error = Reject("I do not understand")
            await d.tell("ftjob-1", "two")
            await quiet(dispatcher)
        [one] = await log_of(d)
        assert (one.outcome, one.reason) == ("rejected", "I do not understand")

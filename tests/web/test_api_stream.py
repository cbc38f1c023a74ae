"""The event stream: live, resumed, filtered, slow, ended; nothing skipped."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from support.operator_api import Operator, operator_api
from support.running import eventually
from support.stores import message
from tunewatch.diff import Observation
from tunewatch.sources.openai.decode import job_of
from tunewatch.web.v1.stream import Stream
from tunewatch.web.v1.tail import Tail


@pytest.fixture
async def operator(store_url):
    async with operator_api(store_url) as operator:
        await operator.filling.job("first")
        yield operator


async def everything(operator: Operator) -> list[str]:
    return [event.id for event in await operator.store.reads.events(limit=100_000)]


async def test_events_come_as_they_are_committed_byte_for_byte(operator):
    async with operator.follow() as stream:
        await stream.block()
        await operator.filling.job("second")
        bodies = [event.body for event in await operator.store.reads.events(limit=100)]
        for body in bodies[2:]:
            assert (await stream.event()) == json.loads(body)
            assert stream.seen[-1].data == body.decode()
    headers = stream.answer.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (headers["Cache-Control"], headers["Server"]) == ("no-store", "tunewatch")


async def test_who_comes_back_gets_everything_behind_the_last_id(operator):
    async with operator.follow() as stream:
        await stream.block()
        before = stream.last
    await operator.filling.job("second")
    await operator.filling.job("third")
    expected = (await everything(operator))[2:]
    async with operator.follow(Last_Event_ID=before) as stream:
        seen = [(await stream.event())["id"] for _ in expected[:2]]
        last = stream.last
    async with operator.follow(f"?after={before}", Last_Event_ID=last) as stream:
        seen += [(await stream.event())["id"] for _ in expected[2:]]
    assert seen == expected


@pytest.mark.parametrize("after", ["0", "event"])
async def test_a_stream_can_begin_in_the_past(operator, after):
    expected = await everything(operator)
    if after == "event":
        after = expected.pop(0)
    async with operator.follow(f"?after={after}") as stream:
        assert [(await stream.event())["id"] for _ in expected] == expected


@pytest.mark.parametrize("last", ["evt_nobody", "1-evt_nobody", "99999-evt_x", "-1"])
async def test_an_id_that_stands_nowhere_is_answered_by_a_reset(operator, last):
    async with operator.follow(Last_Event_ID=last) as stream:
        reason = await stream.event()
        assert stream.seen[-1].event == "reset"
        assert "older than the retention" in reason["reason"]
        await operator.filling.job("second")
        assert (await stream.event())["data"]["id"] == "second"
        assert stream.seen[-1].event == "message"


@pytest.mark.parametrize(
    ("query", "job", "event_type"),
    [
        ("?job=second", "second", "tunewatch.job.discovered"),
        ("?type=@status", "other", "fine_tuning.job.running"),
        ("?source=elsewhere", "third", "tunewatch.job.discovered"),
        ("?source=elsewhere&type=@terminal", "third", "fine_tuning.job.failed"),
    ],
)
async def test_a_stream_has_only_what_was_asked_for(operator, query, job, event_type):
    async with operator.follow(query) as stream:
        await stream.block()
        await operator.filling.job("other")
        await operator.filling.job("second")
        await operator.filling.job(
            "third", source="elsewhere", realm="openai:b", status="failed"
        )
        event = await stream.event()
    assert (event["data"]["id"], event["type"]) == (job, event_type)


async def test_a_wrong_question_is_a_problem_and_no_stream(operator):
    for query in ("?type=@nope", "?limit=1", "?source="):
        assert (await operator.problem(f"/events/stream{query}"))["status"] == 400
    told = await operator.problem("/events/stream", Accept="application/json")
    assert told["status"] == 406


async def test_head_does_not_begin_to_follow(operator):
    reply = await operator.ask("/events/stream", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert operator.tail.followers == 0


async def test_a_quiet_stream_says_that_all_is_well_and_how_far_it_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, stream=Stream(heartbeat=0.1)) as operator:
        async with operator.follow("?job=nobody") as stream:
            start = (await stream.block()).id
            assert (await stream.block()).comment == "all is well"
            await operator.filling.job("second")
            while (block := await stream.block()).id is None:
                assert block.comment == "all is well"
        assert block.id != start
        assert block.data is None
        # Coming back begins there, and not at the last event that was wanted.
        spot = await operator.store.reads.newest_spot()
        assert block.id == f"{spot.position}-{spot.event_id}"


async def test_there_are_only_so_many_readers_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, stream=Stream(most=1)) as operator:
        async with operator.follow() as stream:
            await stream.block()
            told = await operator.problem("/events/stream")
            assert told["status"] == 503
            assert "at most 1 readers" in told["detail"]
        await eventually(lambda: not operator.tail.followers, "the reader is gone")
        async with operator.follow() as stream:
            await stream.block()


class Counted:
    """A log that notes how often it is read."""

    def __init__(self, log) -> None:
        self._log = log
        self.reads = 0

    async def events(self, *, after=0, limit=100):
        self.reads += 1
        return await self._log.events(after=after, limit=limit)

    async def positions(self):
        return await self._log.positions()


async def test_many_readers_share_one_reading_of_the_log(tmp_path):
    logs: list[Counted] = []

    def tail(store):
        logs.append(Counted(store.reads))
        return Tail(logs[0], every=60)

    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, tail=tail) as operator:

        async def reader(ready: asyncio.Event) -> list[str]:
            async with operator.follow() as stream:
                await stream.block()
                ready.set()
                return [(await stream.event())["id"] for _ in range(200)]

        async with asyncio.TaskGroup() as tasks:
            started = [asyncio.Event() for _ in range(20)]
            readers = [tasks.create_task(reader(one), name="reader") for one in started]
            for one in started:
                await one.wait()
            before = logs[0].reads
            for number in range(100):
                await operator.filling.job(f"job{number}")
        expected = await everything(operator)
        assert all(one.result() == expected for one in readers)
        assert logs[0].reads - before <= 2 * 100 + 1


async def test_what_is_kept_in_memory_is_bounded_and_who_is_behind_misses_nothing(
    tmp_path,
):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    small = {"every": 60, "kept": 10, "kept_bytes": 10_000}
    async with operator_api(
        url, tail=lambda store: Tail(store.reads, **small)
    ) as operator:
        await operator.filling.job("first")
        async with operator.follow() as live:
            await live.block()
            await operator.filling.many(300)
            async with operator.follow("?after=0") as late:
                expected = await everything(operator)
                assert len(expected) == 602
                assert [(await late.event())["id"] for _ in expected] == expected
                assert [(await live.event())["id"] for _ in expected[2:]] == expected[
                    2:
                ]


async def test_a_reader_that_does_not_read_is_dropped_and_can_come_back(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, stream=Stream(slow=0.2)) as operator:
        await operator.filling.job("first")
        await flood(operator)
        received = await read_after_being_dropped(operator)
        # Of the last event not all may have come: a client does not know it then.
        *_, last, _ = re.findall(rb"id: (\S+)\n", received)
        at = int(last.partition(b"-")[0])
        events = await operator.store.reads.events(after=at, limit=10_000)
        async with operator.follow(Last_Event_ID=last.decode()) as stream:
            for event in events:
                assert (await stream.event())["id"] == event.id
        assert len(events) > 10


async def read_after_being_dropped(operator: Operator) -> bytes:
    """Ask for everything, read nothing until dropped, then what is still there."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", operator.port, limit=1024
    )
    writer.write(
        b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    await eventually(lambda: operator.tail.followers, "it follows")
    await eventually(lambda: not operator.tail.followers, "it was dropped")
    received = b""
    with suppress(ConnectionError):
        while some := await reader.read(65536):
            received += some
    writer.close()
    return received


async def flood(operator: Operator) -> None:
    """Commit more than the buffers of a connection take."""
    held = await operator.filling.source("research")
    seen = Observation(
        job_id="first",
        look=1000,
        at=1_760_000_100.0,
        entries=tuple(message(n, "x" * 60_000) for n in range(400)),
    )
    await operator.store.journal.commit(held, [seen], decode=job_of)


async def test_a_stop_ends_every_stream_at_once(tmp_path):
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        async with operator_api(f"sqlite:///{tmp_path / 'state.db'}") as operator:
            answer = await session.get(f"{operator.url}/api/v1/events/stream")
            await answer.content.readline()
            stopping = loop.time()
        assert loop.time() - stopping < 5
        assert (await answer.content.read()).endswith(b"\n\n")
        answer.close()


async def test_nothing_is_skipped_while_several_processes_commit(postgres_url: str):
    """Positions are taken in commit order: a reader that reads on misses nothing."""
    async with operator_api(postgres_url) as operator, writers(postgres_url, 4):
        seen, last = [], "0"
        for _ in range(8):  # readers come and go while commits go on
            async with operator.follow(Last_Event_ID=last) as stream:
                seen += [await stream.event() for _ in range(150)]
                last = stream.last
        expected = (await everything(operator))[: len(seen)]
    assert [event["id"] for event in seen] == expected
    assert len({event["data"]["source"] for event in seen}) == 4


@asynccontextmanager
async def writers(url: str, count: int) -> AsyncIterator[None]:
    """Let so many processes commit as fast as they can, each for a source."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.store_writer", url, f"source{number}"),
            cwd=Path(__file__).parents[1],
            stdout=asyncio.subprocess.DEVNULL,
        )
        for number in range(count)
    ]
    try:
        yield
    finally:
        for process in processes:
            assert process.returncode is None
            process.kill()
            await process.wait()

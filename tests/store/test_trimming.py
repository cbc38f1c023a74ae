"""The delivery log is kept for a time and up to a size, then forgotten bit by bit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert

from support.stores import T0, Desk, open_desk
from tunewatch.store import schema
from tunewatch.store.trimming import CHUNK, Bounds, trim

DAY = 86_400.0


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def log_calls(desk: Desk, count: int, *, every: float = 1.0) -> None:
    """Log so many calls, the last of them now."""
    now = desk.clock.now()
    call = {"plugin": "ops", "source_id": desk.source.id, "job_key": 1}
    call |= {"number": 1, "event_id": "evt_1", "seconds": 0.1, "outcome": "accepted"}
    rows = [
        call | {"position": n, "at": now - (count - 1 - n) * every}
        for n in range(count)
    ]
    await desk.store.carrier.write(lambda c: c.execute(insert(schema.attempt), rows))


async def kept(desk: Desk) -> list[int]:
    """Return the positions that are still in the log, oldest first."""
    found = await desk.store.reads.deliveries.attempts(limit=100_000)
    return [one.position for one in reversed(found)]


async def test_what_is_older_than_its_time_goes(desk):
    await log_calls(desk, 40, every=DAY)
    bounds = Bounds(rows=10**6, log_since=T0 - 30 * DAY, record_since=None)
    assert await trim(desk.store.carrier, bounds, most=10) == 9
    assert await kept(desk) == list(range(9, 40))
    assert await trim(desk.store.carrier, bounds, most=10) == 0


async def test_what_is_too_much_goes_whatever_the_clock_says(desk):
    await log_calls(desk, 5000)
    bounds = Bounds(rows=1200, log_since=None, record_since=None)
    assert await trim(desk.store.carrier, bounds, most=100) == 3800
    assert await kept(desk) == list(range(3800, 5000))


async def test_it_goes_in_small_parts_and_goes_on_later(desk):
    await log_calls(desk, 5000)
    bounds = Bounds(rows=10, log_since=None, record_since=None)
    assert await trim(desk.store.carrier, bounds, most=2) == 2 * CHUNK
    assert await trim(desk.store.carrier, bounds, most=100) == 2990


async def test_an_id_is_never_given_twice(desk):
    await log_calls(desk, 10)
    [newest, *_] = await desk.store.reads.deliveries.attempts()
    desk.clock.advance(365 * DAY)
    bounds = Bounds(rows=0, log_since=desk.clock.now(), record_since=None)
    await trim(desk.store.carrier, bounds, most=10)
    assert [one.id for one in await desk.store.reads.deliveries.attempts()] == [
        newest.id
    ]
    await log_calls(desk, 1)
    [younger, _] = await desk.store.reads.deliveries.attempts()
    assert younger.id > newest.id


async def test_the_record_of_a_redelivery_stays_while_anything_of_it_is_left(desk):
    asked = {"by": "me", "asked": b"{}", "events": 1, "at": T0 - 100 * DAY}
    part = {"plugin": "ops", "source_id": 1, "job_key": 1, "first": 1, "last": 1}

    def write(connection) -> None:
        connection.execute(insert(schema.redelivery), [asked] * 3)
        connection.execute(insert(schema.stretch), [part | {"redelivery": 2}])

    await desk.store.carrier.write(write)
    bounds = Bounds(rows=10, log_since=None, record_since=T0 - 90 * DAY)
    assert await trim(desk.store.carrier, bounds, most=10) == 2
    assert await trim(desk.store.carrier, bounds, most=10) == 0


async def test_the_audit_is_kept_as_long_as_other_records_while_the_log_is_busy(desk):
    await log_calls(desk, 40, every=DAY)
    deed = {"by": "ops", "what": "pause_plugin", "outcome": "asked for"}
    rows = [deed | {"about": f"{n}", "at": T0 - n * DAY} for n in (200, 100, 80, 0)]
    await desk.store.carrier.write(lambda c: c.execute(insert(schema.audit), rows))
    bounds = Bounds(rows=10**6, log_since=T0 - 30 * DAY, record_since=T0 - 90 * DAY)
    assert await trim(desk.store.carrier, bounds, most=1) == 9 + 2
    assert [one.about for one in await desk.store.reads.audit.rows()] == ["0", "80"]

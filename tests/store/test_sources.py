"""What a poller asks of the store: first contact, the first walk, what is known."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.stores import (
    REALM,
    T0,
    Desk,
    decode_job,
    message,
    open_desk,
    raw_job,
)
from tunewatch.store.audit import Deed
from tunewatch.store.records import LeaseLost

DEED = Deed("me@here", "look_at_job")


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def test_the_backfill_point_is_fixed_at_first_contact(desk):
    contact = desk.store.sources.contact
    first = await contact("new", "openai", REALM, backfill=3600.0)
    assert first.backfill_before == T0 - 3600
    desk.clock.advance(86_400)
    again = await contact("new", "openai", REALM, backfill="all")
    assert again == first
    everything = await contact("all", "openai", REALM, backfill="all")
    assert everything.backfill_before == 0
    nothing = await contact("none", "openai", REALM, backfill="none")
    assert nothing.backfill_before == desk.clock.now()


async def test_the_realm_moves_only_when_the_configuration_says_so(desk):
    contact = desk.store.sources.contact
    kept = await contact("research", "openai", "elsewhere")
    assert kept.realm == REALM
    moved = await contact("research", "openai", "elsewhere", realm_is_explicit=True)
    assert (moved.id, moved.realm) == (kept.id, "elsewhere")


async def test_the_first_walk_resumes_where_it_was(desk):
    sources = desk.store.sources
    await sources.save_walk(desk.held, "cursor-7", done=False)
    row = await sources.contact("research", "openai", REALM)
    assert (row.walk_cursor, row.walked) == ("cursor-7", False)
    await sources.save_walk(desk.held, None, done=True)
    row = await sources.contact("research", "openai", REALM)
    assert (row.walk_cursor, row.walked) == (None, True)
    stale = desk.held._replace(token=0)
    with pytest.raises(LeaseLost):
        await sources.save_walk(stale, "x", done=False)


async def test_tracked_jobs_are_those_that_are_not_done(desk):
    await desk.saw("running", raw=raw_job("running"))
    await desk.saw("silent", raw=raw_job("silent", "succeeded"), silent=True)
    await desk.saw("gone", raw=raw_job("gone"))
    await desk.saw("gone", gone=True)
    await desk.saw("ended", raw=raw_job("ended", "failed", created_at=5))
    tracked = await desk.store.sources.tracked(desk.source.id, decode_job)
    assert [row.id for row in tracked] == ["ended", "running"]
    assert tracked[1].state.told_status == "running"


async def test_a_page_is_judged_against_what_is_known(desk):
    ended = raw_job("b", "succeeded")
    await desk.saw("a", raw=raw_job("a"))
    await desk.saw("b", raw=ended, silent=True)
    known = await desk.store.sources.known_jobs(REALM, ["a", "b", "c"])
    assert set(known) == {"a", "b"}
    assert (known["a"].status, known["a"].settled) == ("running", False)
    assert (known["b"].status, known["b"].settled) == ("succeeded", True)
    assert await desk.store.sources.known_jobs("other realm", ["a"]) == {}


async def test_known_entries_and_newer_jobs_are_counted(desk):
    seen = await desk.saw("a", raw=raw_job("a"), entries=(message(1), message(2)))
    sources = desk.store.sources
    known = await sources.known_entries(seen.job_key, ["ev-1", "ev-9"])
    assert known == {"ev-1"}
    looks = [
        desk.look(f"j{n}", raw=raw_job(f"j{n}", created_at=int(T0) + n))
        for n in range(10)
    ]
    await desk.commit(*looks)
    source_id = desk.source.id
    assert await sources.count_newer(source_id, int(T0) + 4, limit=100) == 5
    assert await sources.count_newer(source_id, 0, limit=3) == 3


async def test_an_orphans_jobs_pass_to_the_next_source(desk):
    await desk.saw("a", raw=raw_job("a"))
    sources = desk.store.sources
    [orphan] = await sources.orphans(["second"])
    assert orphan.name == "research"
    assert await sources.orphans(["research"]) == []
    second = await sources.contact("second", "openai", REALM)
    assert await sources.pass_on(desk.held, second.id) == ["a"]
    known = await sources.known_jobs(REALM, ["a"])
    assert known["a"].source_id == second.id
    # What it told stays in the journal under its name, for as long as that is kept.
    [orphan] = await sources.orphans(["second"])
    assert orphan.name == "research"


async def test_only_the_jobs_that_the_other_source_sees_pass_to_it(desk):
    await desk.saw("seen", raw=raw_job("seen"))
    await desk.saw("hidden", raw=raw_job("hidden"))
    sources = desk.store.sources
    second = await sources.contact("second", "openai", REALM)
    passed = await sources.pass_on(desk.held, second.id, ["seen", "strange"])
    assert passed == ["seen"]
    known = await sources.known_jobs(REALM, ["seen", "hidden"])
    assert known["seen"].source_id == second.id
    assert known["hidden"].source_id == desk.source.id


async def test_a_job_that_was_passed_on_is_committed_to_under_a_younger_lease(desk):
    store, sources = desk.store, desk.store.sources
    await desk.saw("a", raw=raw_job("a"))
    for _ in range(3):  # the lease of the orphan changed hands more often
        await store.leases.release(desk.held)
        desk.held = await store.leases.acquire(desk.source.id)
    await desk.saw("a", raw=raw_job("a", seed=7))
    second = await sources.contact("second", "openai", REALM)
    await sources.pass_on(desk.held, second.id)
    desk.held = await store.leases.acquire(second.id)
    assert desk.held.token == 1
    seen = await desk.saw("a", raw=raw_job("a", seed=8))
    assert seen.outcome == "committed"


async def test_a_request_is_taken_once_and_only_by_its_owner(desk):
    requests = desk.store.requests
    first = await requests.add("look", desk.source.id, b"{}", deed=DEED)
    await requests.add("resume", None, b"{}", deed=DEED)
    assert len(await requests.pending(["look", "resume"])) == 2
    assert await requests.take(desk.held, ["redeliver"]) == []
    [taken] = await requests.take(desk.held, ["look", "resume"])
    assert (taken.id, taken.kind, taken.body) == (first, "look", b"{}")
    assert await requests.take(desk.held, ["look"]) == []
    [resume] = await requests.take(None, ["resume"])
    assert resume.source_id is None
    third = await requests.add("look", desk.source.id, b"{}", deed=DEED)
    assert third > resume.id
    await requests.drop(third)
    assert await requests.pending(["look"]) == []


async def test_the_same_request_waits_but_once_until_it_is_taken(desk):
    requests = desk.store.requests
    for body in (b"a", b"a", b"b", b"a"):
        await requests.add_once("look", desk.source.id, body)
    waiting = await requests.pending(["look"])
    assert [one.body for one in waiting] == [b"a", b"b"]
    await requests.drop(*(one.id for one in waiting))
    await requests.add_once("look", desk.source.id, b"a")
    assert [one.body for one in await requests.pending(["look"])] == [b"a"]

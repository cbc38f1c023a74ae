"""What a person means by a redelivery is found exactly, and nothing beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, insert, select, text

from support.dispatching import MESSAGE, Desk, Recorder, desk, desk_of, gate
from tunewatch.store.choice import CannotChoose, Plan, Selection
from tunewatch.store.schema import dead_letter, event
from tunewatch.store.waiting import PART

HOUR = 3600.0


@pytest.fixture
async def d(store_url) -> AsyncIterator[Desk]:
    """Two jobs with two messages each, the later ones an hour after the first."""
    async with desk(store_url) as d:
        d.metadata = {"ftjob-b": {"team": "b"}}
        await d.tell_all({"ftjob-a": ["a1"], "ftjob-b": ["b1"]})
        d.clock.advance(HOUR)
        await d.tell_all({"ftjob-a": ["a2"], "ftjob-b": ["b2"]})
        yield d


def plugin(d, name="ops", **settings):
    return gate(Recorder(), name, clock=d.clock, **settings).instance


async def plan(d, *plugins, **asked) -> Plan:
    return await d.store.redeliver.plan(Selection(**asked), plugins or [plugin(d)])


async def messages(d, planned: Plan, *plugins) -> list[str]:
    """Return the messages that a plan would send, in its order."""
    lines = await d.store.redeliver.lines(
        planned, plugins or [plugin(d)], limit=planned.events + 1
    )
    assert len(lines) == planned.events
    bodies = [await d.store.reads.event(line.event_id) for line in lines]
    return [body.body.decode().partition('"message":"')[2][:2] for body in bodies]


async def test_a_range_by_time_takes_what_was_committed_then(d):
    now = d.clock.now()
    later = await plan(d, plugin="ops", since=now - HOUR / 2)
    assert await messages(d, later) == ["a2", "b2"]
    earlier = await plan(d, plugin="ops", until=now - HOUR / 2)
    assert await messages(d, earlier) == ["a1", "b1"]
    both = await plan(d, plugin="ops", since=now - 2 * HOUR, until=now + 1)
    assert sorted(await messages(d, both)) == ["a1", "a2", "b1", "b2"]
    nothing = await plan(d, plugin="ops", since=now + 1)
    assert nothing.stretches == ()


async def test_a_range_by_position_takes_what_lies_in_it(d):
    rows = await d.rows(
        "SELECT position FROM event WHERE type = :kind ORDER BY position", kind=MESSAGE
    )
    places = [position for [position] in rows]
    some = await plan(d, plugin="ops", first=places[1], last=places[2])
    assert sorted(await messages(d, some)) == ["a2", "b1"]
    assert (await plan(d, plugin="ops", last=places[0])).events == 1
    assert (await plan(d, plugin="ops", first=places[3])).events == 1


async def test_a_range_heeds_job_types_and_what_the_plugin_is_subscribed_to(d):
    of_a = await plan(d, plugin="ops", since=0.0, job="ftjob-a")
    assert await messages(d, of_a) == ["a1", "a2"]
    assert (await plan(d, plugin="ops", since=0.0, types=("@terminal",))).events == 0
    every = plugin(d, events=("*",))
    found = await plan(d, every, plugin="ops", since=0.0, types=("*.discovered",))
    assert found.events == 2
    picky = plugin(d, metadata={"team": "b"})
    assert await messages(d, await plan(d, picky, plugin="ops", since=0.0), picky) == [
        "b1",
        "b2",
    ]
    of_a = await plan(d, picky, plugin="ops", since=0.0, job="ftjob-a")
    assert of_a.events == 0
    deaf = plugin(d, sources=("elsewhere",))
    assert (await plan(d, deaf, plugin="ops", since=0.0)).events == 0


async def test_a_range_is_of_one_source_if_one_is_named(d):
    other = await desk_of(d.store, d.clock, "other", "openai:elsewhere")
    await other.tell("ftjob-o", "o1")
    assert (await plan(d, plugin="ops", since=0.0)).events == 5
    found = await plan(d, plugin="ops", since=0.0, source="other")
    assert await messages(d, found) == ["o1"]


async def test_a_long_range_is_read_in_parts_and_put_together(d):
    def far(connection: Connection) -> None:
        row = connection.execute(select(event).where(event.c.type == MESSAGE)).first()
        rows = [
            row._asdict() | {"position": n * PART + 7, "id": f"evt_far{n}"}
            for n in range(1, 6)
        ]
        connection.execute(insert(event), rows)

    await d.store.carrier.write(far)
    found = await plan(d, plugin="ops", since=0.0)
    assert found.events == 4 + 5
    assert len(found.stretches) == 2
    assert max(one.last for one in found.stretches) == 5 * PART + 7


async def test_what_a_plugin_missed_ends_where_it_began(d):
    async with d.dispatching(gate(Recorder(), clock=d.clock)):
        pass
    await d.tell("ftjob-a", "a3")
    found = await plan(d, plugin="ops", missed=True)
    assert sorted(await messages(d, found)) == ["a1", "a2", "b1", "b2"]
    # A plugin that never ran missed everything so far.
    new = plugin(d, "new")
    assert (await plan(d, new, plugin="new", missed=True)).events == 5
    await d.store.carrier.write(lambda c: c.execute(text("UPDATE mark SET start=NULL")))
    with pytest.raises(CannotChoose, match="say since when"):
        await plan(d, plugin="ops", missed=True)


async def test_a_letter_of_many_events_is_closed_by_all_of_them_only(d):
    def bury(connection: Connection) -> None:
        rows = connection.execute(
            select(event).where(event.c.job_key == 1).order_by(event.c.position)
        ).all()
        first, last = rows[0], rows[-1]
        letter = {"plugin": "ops", "source_id": 1, "job_key": 1, "event_id": first.id}
        letter |= {"first_position": first.position, "last_position": last.position}
        letter |= {"first_sequence": first.sequence, "last_sequence": last.sequence}
        letter |= {"tries": 0, "reason": "waited too long", "at": 100.0}
        connection.execute(insert(dead_letter).values(letter))

    await d.store.carrier.write(bury)
    whole = await plan(d, dead=True)
    assert await messages(d, whole) == ["a1", "a2"]
    assert [one.letter for one in whole.stretches] == [1]
    every = plugin(d, events=("*",))
    part = await plan(d, every, dead=True, types=(MESSAGE,))
    assert [(one.letter, one.events) for one in part.stretches] == [(0, 2)]
    assert (await plan(d, dead=True, since=200.0)).events == 0
    assert (await plan(d, dead=True, until=200.0)).events == 2
    assert (await plan(d, dead=True, job="ftjob-b")).events == 0
    # One of its events can be sent alone, and the letter stays.
    [first, *_] = await d.store.redeliver.lines(whole, [plugin(d)], limit=1)
    alone = await plan(d, events=(first.event_id,))
    assert [(one.letter, one.events) for one in alone.stretches] == [(0, 1)]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "nothing is chosen"),
        ({"since": 0.0}, "a range is of one plugin"),
        ({"plugin": "nobody", "since": 0.0}, "there is no plugin nobody"),
        ({"dead": True, "source": "nowhere"}, "there is no source nowhere"),
        ({"dead": True, "job": "ftjob-x"}, "there is no job ftjob-x"),
    ],
)
async def test_what_means_nothing_is_refused_with_what_to_do(d, asked, why):
    with pytest.raises(CannotChoose, match=why):
        await plan(d, **asked)


async def test_a_view_is_given_nothing(d):
    view = plugin(d, "prometheus", events=())
    [one] = (await plan(d, plugin="ops", since=0.0, job="ftjob-a")).stretches[:1]
    name = await d.one("SELECT id FROM event WHERE position = :p", p=one.first)
    found = await plan(d, view, plugin="prometheus", events=(name,))
    assert found.stretches == ()
    assert found.refused == (
        f"event {name} cannot go to prometheus: it takes no events",
    )

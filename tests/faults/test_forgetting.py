"""kill -9 while what is old is forgotten: what goes was delivered, and goes whole."""

from __future__ import annotations

import time

import pytest

from support.deaths import Deaths
from support.doomed import HASTE
from support.fatal_points import POINTS
from support.track_record import rounds
from support.watching import until

FORGETTING = [name for name, one in POINTS.items() if one.stage == "forgetting"]
FAST = 80.0
"""Times as fast as life: jobs have to end before they are forgotten."""
RETENTION = {"TUNEWATCH_DAEMON__RETENTION": "2s"}
SETTLED = "SELECT count(*) FROM event WHERE type = 'tunewatch.job.settled'"
LEFT_BEHIND = (
    "SELECT count(*) FROM {table} WHERE job_key > 0"
    " AND job_key NOT IN (SELECT key FROM job)"
)
TOLD_TWICE = "SELECT count(*) FROM tombstone JOIN job ON job.id = tombstone.id"


async def forgets(names, staged, chance, track_record):
    began = time.monotonic()
    async with staged(sinks=3, at_once=4) as scene:
        deaths = Deaths(scene=scene, chance=chance)
        rows, judge = scene.judge.books.rows, scene.judge
        scene.moving.speed = FAST
        await scene.start()
        known = {}
        for name in names:
            await until(
                lambda: int(rows(SETTLED)[0][0]) >= 2,
                within=60,
                every=0.2,
                what="jobs are settled",
            )
            # In order, since only then every mark is written: nobody needs it any more.
            code, _ = await scene.daemon.stop()
            assert code == 0
            known |= {event.id: event for event in judge.read().events}
            await deaths.die_at(name, **RETENTION)
            known |= {event.id: event for event in judge.read().events}
            await scene.start()
        await scene.at_work()
        await scene.all_delivered()
        scene.moving.is_frozen = True
        code, _ = await scene.daemon.stop()
        assert code == 0
        known |= {event.id: event for event in judge.read().events}
        # Undisturbed it forgets, and nothing comes that the judge has not seen.
        before = len(judge.read().events)
        scene.daemon.environ = {HASTE: "yes", **RETENTION}
        scene.daemon.program.is_cold = True  # what is warm knows no haste
        await scene.start()
        await until(
            lambda: len(judge.read().events) < before,
            within=30,
            every=0.2,
            what="something is forgotten",
        )
        # Also what was committed as the life before came to its end.
        await scene.all_delivered()
        code, _ = await scene.daemon.stop()
        assert code == 0
        judge.audit()
        books = judge.read()
        known |= {event.id: event for event in books.events}
        receiver = scene.receiver
        lost = [
            (plugin, event.id)
            for event in known.values()
            for plugin in scene.names
            if (had := receiver.acknowledged(plugin, event.id)) is None
            or had.digest != event.digest
        ]
        track_record(
            "kill -9 while what is old is forgotten",
            **scene.figures(books)
            | {"runs": len(names), "lost": f"{len(lost)} of {len(known) * 3}"},
            seconds=round(time.monotonic() - began),
        )
        assert lost == []
        # Nothing of a job that is gone is left, and the list tells it no second time.
        for table in ("point", "entry", "checkpoint", "event", "lane"):
            assert rows(LEFT_BEHIND.format(table=table)) == [("0",)], table
        assert rows(TOLD_TWICE) == [("0",)]
        # What came and went within one life the judge has not seen: all have it.
        unseen = {event for _, event in receiver.known} - set(known)
        everywhere = [
            [receiver.acknowledged(plugin, event) for plugin in scene.names]
            for event in unseen
        ]
        assert all(all(one) for one in everywhere)
        jobs = {
            job for [job] in rows("SELECT id FROM job UNION SELECT id FROM tombstone")
        }
        of = {one.job for (_, event), one in receiver.known.items() if event in unseen}
        assert of <= jobs
        assert judge.false_done == []
        assert judge.unsound == []
        assert receiver.inversions == []
        assert receiver.uncalled == []
        assert receiver.altered == []
        assert books.buried == []


@pytest.mark.parametrize(
    "store_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)],
    indirect=True,
)
@pytest.mark.timeout(120)
async def test_nothing_is_lost_by_a_kill_while_what_is_old_is_forgotten(
    staged, chance, track_record
):
    await forgets(chance.sample(FORGETTING, 1), staged, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_nothing_is_lost_by_many_kills_while_what_is_old_is_forgotten(
    staged, chance, track_record
):
    names = FORGETTING * rounds(10)
    chance.shuffle(names)
    await forgets(names, staged, chance, track_record)

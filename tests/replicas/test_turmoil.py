"""Replicas that are frozen, cut off, killed and rolled, while jobs move."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest

from support.databases import postgres_server
from support.fleet import fleet
from support.pgbouncer import pgbouncer
from support.private_network import Line, private_network
from support.track_record import rounds
from support.watching import until

MINUTES = float(os.environ.get("FAULTS_MINUTES", "60"))
"""How long faults are mixed."""
TAKEN_OVER = 20.0
"""s after which the others have what a dead, frozen or cut off replica had."""
LEASE = 12.0
"""s after which who cannot renew sends nothing any more."""
LONGEST_LOSS = 60.0
"""s for which packets are lost, at most."""
POLLED = 0.2 + 2.0
"""s within which every source is asked after: the interval, and what is lost of it."""
IN_FLIGHT = 2 * 8
"""Deliveries of one source that can be out at once."""


ENDS = {
    "killed": "taken over",
    "frozen": "taken over",
    "cut off": "taken over",
    "stopped": "handed over",
    "pooler back": "all held again",
    "PostgreSQL back": "all held again",
    "every packet passes": "all held again",
}
"""What happens to a replica or to all, and what is timed from there."""


class Turmoil:
    """What goes wrong with a fleet, and how long the others took each time."""

    def __init__(self, scene, chance):
        self.scene = scene
        self.chance = chance
        self.took = {}

    async def freeze(self, one):
        """Stop it past its lease, and let it go on when others have everything."""
        self.scene.freeze(one)
        await self.taken_over("frozen", one)
        # A wake in the middle of what others do, at any moment of it.
        await asyncio.sleep(self.chance.uniform(0.0, 1.0))
        self.scene.thaw(one)

    async def cut(self, one):
        """Cut off from PostgreSQL until others have everything."""
        scene, began = self.scene, time.monotonic()
        scene.cut(one)
        try:
            await self.taken_over("cut off", one)
            # Its lease is over: it has nothing to tell of and nothing to send.
            await until(
                lambda: not scene.holdings.now(one.name),
                within=30,
                what="it does not tell of anything any more",
            )
            assert scene.receiver.heard.get(one.name, began) - began <= LEASE
        finally:
            scene.mend(one)

    async def thin(self, one):
        """Let half of its packets to and from PostgreSQL be lost for a while."""
        self.scene.thin(one)
        try:
            await asyncio.sleep(self.chance.uniform(LEASE, LONGEST_LOSS))
        finally:
            self.scene.mend(one)
        took = await self.scene.all_held_by(*self.scene.replicas)
        self.took.setdefault("every packet passes", []).append(took)

    async def kill(self, one):
        await self.scene.kill_one(one)
        await self.taken_over("killed", one)
        await self.scene.begin(one)

    async def roll(self, one):
        took = await self.scene.end(one)
        self.took.setdefault("stopped", []).append(took)
        await self.scene.begin(one)

    async def roll_the_pooler(self, pooler):
        """Stop what is between all of them and PostgreSQL, and start it again."""
        await self.away("pooler", pooler.stop, pooler.start)

    async def restart_the_database(self, server):
        """Stop PostgreSQL, in order or as a crash does, and start it again."""
        how = self.chance.choice((signal.SIGINT, signal.SIGQUIT))
        await self.away("PostgreSQL", partial(server.stop, how), server.start)

    async def away(self, what, stop, start):
        """Let something be away for a while, at times for longer than a lease."""
        scene = self.scene
        async with scene.all_ill():
            await asyncio.to_thread(stop)
            await asyncio.sleep(self.chance.choice((0.0, 3.0, 1.5 * LEASE)))
            start()  # not in a thread, with which it would end
            took = await scene.all_held_by(*scene.replicas)
            self.took.setdefault(f"{what} back", []).append(took)
            before = scene.receiver.arrivals
            await until(lambda: scene.receiver.arrivals > before, what="it delivers")

    async def taken_over(self, how, *ones):
        """Wait until those that can have all that these had."""
        alive = [one for one in self.scene.others(*ones) if not one.is_frozen]
        took = await self.scene.all_held_by(*alive)
        self.took.setdefault(how, []).append(took)

    def told(self):
        """Say how long each kind took at most, and how often it was tried."""
        return "; ".join(
            f"{end} in {max(took):.1f} s at most ({how}, {times(took)})"
            for how, end in ENDS.items()
            if (took := self.took.get(how))
        )

    async def any_of(self, *faults):
        """Let one thing go wrong with one replica, and share evenly again."""
        await self.chance.choice(faults)(self.chance.choice(self.scene.replicas))
        if self.chance.random() < 0.5:
            await self.scene.shared_evenly()

    @property
    def runs(self):
        return sum(len(took) for took in self.took.values())

    async def judged(self, fault, track_record, began, *also):
        """Play it out, and let the judge decide; `also` is told with the times."""
        scene = self.scene
        await scene.play_out()
        await scene.shared_evenly()
        books = await scene.close()
        track_record(
            fault,
            **scene.figures(books)
            | {
                "runs": self.runs,
                "repeated": scene.receiver.repeats.total(),
                "recovered in": "; ".join((self.told(), *also)),
            },
            seconds=round(time.monotonic() - began),
        )
        scene.acquit(books)
        late = {
            how: max(took)
            for how, took in self.took.items()
            if ENDS[how] != "handed over" and max(took) > TAKEN_OVER
        }
        assert late == {}
        # Two sinks with eight at once each, of every source there is.
        most = max(scene.receiver.repeats.values(), default=0)
        assert most <= IN_FLIGHT * len(scene.replicas[0].sources)


def times(took):
    return "once" if len(took) == 1 else f"{len(took)} times"


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_what_is_frozen_or_killed_is_taken_over_and_does_no_harm(
    staged, chance, track_record
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        _, second, third = scene.replicas
        await scene.begin()
        await scene.shared_evenly()
        await turmoil.freeze(second)
        await scene.shared_evenly()
        await turmoil.kill(third)
        await turmoil.judged("3 replicas: frozen, killed", track_record, began)


@pytest.fixture
def befalls(chance, track_record):
    """Lend what lets one fault befall the replicas of a fleet, so many times."""
    return partial(again_and_again, chance, track_record)


async def again_and_again(chance, track_record, fault, staged, *, times, name):
    """Let it befall one of them each time that shares are even, and judge."""
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        for _ in range(times):
            await scene.shared_evenly()
            await turmoil.any_of(partial(fault, turmoil))
        await turmoil.judged(name, track_record, began)


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [6, 100])
async def test_what_is_cut_off_from_the_database_is_taken_over_and_does_no_harm(
    staged, befalls, times
):
    await befalls(Turmoil.cut, staged, times=times, name="3 replicas: cut off")


@pytest.fixture
def on_lines(tmp_path, chance):
    """Lend a fleet in a network of its own, whose kernel loses packets when told to."""

    @asynccontextmanager
    async def staged():
        lines = [Line(f"127.0.1.{number}") for number in (1, 2, 3)]
        addresses = [line.address for line in lines]
        with private_network(), postgres_server(*addresses) as server:
            async with fleet(
                tmp_path, server.create(), server, chance, lines=lines
            ) as scene:
                yield scene

    return staged


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [6, 100])
async def test_what_packets_are_dropped_of_is_taken_over_and_does_no_harm(
    on_lines, befalls, times
):
    await befalls(
        Turmoil.cut, on_lines, times=times, name="3 replicas: packets dropped"
    )


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
async def test_who_loses_half_of_all_packets_does_no_harm(on_lines, befalls):
    await befalls(
        Turmoil.thin,
        on_lines,
        times=rounds(20),
        name="3 replicas: half of all packets",
    )


@pytest.mark.faults
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("times", [10, 200])
async def test_replicas_that_are_frozen_past_their_lease_do_no_harm_when_they_wake(
    staged, chance, track_record, times
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        await scene.shared_evenly()
        for _ in range(times):
            await turmoil.any_of(turmoil.freeze)
        await scene.shared_evenly()
        ended, fenced = await scene.lost("ended"), await scene.lost("fenced")
        await turmoil.judged(
            "3 replicas: SIGSTOP, SIGCONT",
            track_record,
            began,
            f"{ended} leases ended, and {fenced} times a write under one was refused",
        )
    assert ended >= times


@pytest.mark.faults
@pytest.mark.timeout(60 * MINUTES + 3600)
async def test_three_replicas_survive_an_hour_of_mixed_faults(
    staged, postgres, chance, track_record
):
    began = time.monotonic()
    with pgbouncer(postgres) as pooler:
        async with staged(behind=pooler.port) as scene:
            turmoil = Turmoil(scene, chance)
            faults = (
                turmoil.freeze,
                turmoil.cut,
                turmoil.kill,
                turmoil.roll,
                # These concern everybody.
                lambda _one: turmoil.roll_the_pooler(pooler),
                lambda _one: turmoil.restart_the_database(postgres),
            )
            await scene.begin()
            await scene.shared_evenly()
            while time.monotonic() < began + 60 * MINUTES:
                await turmoil.any_of(*faults)
            await turmoil.judged("3 replicas: mixed faults", track_record, began)


@pytest.mark.faults
@pytest.mark.timeout(2 * 3600)
async def test_fifty_rolling_restarts_under_load_lose_and_repeat_nothing(
    staged, chance, track_record
):
    began = time.monotonic()
    async with staged() as scene:
        turmoil = Turmoil(scene, chance)
        await scene.begin()
        for _ in range(50):
            for one in scene.replicas:
                await turmoil.roll(one)
        unwatched = longest_gap(scene.moving.api.requests)
        await turmoil.judged(
            "3 replicas: rolled",
            track_record,
            began,
            f"no source was left alone for more than {unwatched:.1f} s",
        )
    assert scene.receiver.repeats.total() == 0
    assert unwatched <= POLLED


def longest_gap(requests):
    """Return the longest that a source was not asked after, in s."""
    newest, longest = {}, 0.0
    for one in requests:
        longest = max(longest, one.at - newest.get(one.key, one.at))
        newest[one.key] = one.at
    return longest

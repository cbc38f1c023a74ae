"""What goes wrong with replicas, one thing at a time: how long others take, a verdict.

What happens when is the test's.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from support.databases import PostgresServer
from support.fleet import Fleet, Replica
from support.pgbouncer import PgBouncer
from support.watching import until

TAKEN_OVER = 20.0
"""s after which the others have what a dead, frozen or cut off replica had."""
LEASE = 12.0
"""s after which who cannot renew sends nothing any more."""
LONGEST_LOSS = 60.0
"""s for which packets are lost, at most."""
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

    def __init__(self, scene: Fleet, chance: random.Random) -> None:
        self.scene = scene
        self.chance = chance
        self.took: dict[str, list[float]] = {}

    async def freeze(self, one: Replica) -> None:
        """Stop it past its lease, and let it go on when others have everything."""
        self.scene.freeze(one)
        await self.taken_over("frozen", one)
        # A wake in the middle of what others do, at any moment of it.
        await asyncio.sleep(self.chance.uniform(0.0, 1.0))
        self.scene.thaw(one)

    async def cut(self, one: Replica) -> None:
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

    async def thin(self, one: Replica) -> None:
        """Let half of its packets to and from PostgreSQL be lost for a while."""
        self.scene.thin(one)
        try:
            await asyncio.sleep(self.chance.uniform(LEASE, LONGEST_LOSS))
        finally:
            self.scene.mend(one)
        took = await self.scene.all_held_by(*self.scene.replicas)
        self.took.setdefault("every packet passes", []).append(took)

    async def kill(self, one: Replica) -> None:
        """Kill -9, and start it again when others have everything."""
        await self.scene.kill_one(one)
        await self.taken_over("killed", one)
        await self.scene.begin(one)

    async def roll(self, one: Replica) -> None:
        """Stop it in order, and start it again when others have everything."""
        took = await self.scene.end(one)
        self.took.setdefault("stopped", []).append(took)
        await self.scene.begin(one)

    async def roll_the_pooler(self, pooler: PgBouncer) -> None:
        """Stop what is between all of them and PostgreSQL, and start it again."""
        await self.away("pooler", pooler.stop, pooler.start)

    async def restart_the_database(self, server: PostgresServer) -> None:
        """Stop PostgreSQL, in order or as a crash does, and start it again."""
        how = self.chance.choice((signal.SIGINT, signal.SIGQUIT))
        await self.away("PostgreSQL", partial(server.stop, how), server.start)

    async def away(
        self, what: str, stop: Callable[[], object], start: Callable[[], object]
    ) -> None:
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

    async def taken_over(self, how: str, *ones: Replica) -> None:
        """Wait until those that can have all that these had."""
        alive = [one for one in self.scene.others(*ones) if not one.is_frozen]
        took = await self.scene.all_held_by(*alive)
        self.took.setdefault(how, []).append(took)

    def told(self) -> str:
        """Say how long each kind took at most, and how often it was tried."""
        return "; ".join(
            f"{end} in {max(took):.1f} s at most ({how}, {times(took)})"
            for how, end in ENDS.items()
            if (took := self.took.get(how))
        )

    async def any_of(self, *faults: Callable[[Replica], Awaitable[None]]) -> None:
        """Let one thing go wrong with one replica, and share evenly again."""
        await self.chance.choice(faults)(self.chance.choice(self.scene.replicas))
        if self.chance.random() < 0.5:
            await self.scene.shared_evenly()

    @property
    def runs(self) -> int:
        """How often anything of it happened."""
        return sum(len(took) for took in self.took.values())

    async def judged(
        self,
        fault: str,
        track_record: Callable[..., None],
        began: float,
        *also: str,
        runs: int | None = None,
    ) -> None:
        """Play it out, and let the judge decide; `also` is told with the times."""
        scene = self.scene
        await scene.play_out()
        await scene.shared_evenly()
        books = await scene.close()
        track_record(
            fault,
            **scene.figures(books)
            | {
                "runs": self.runs if runs is None else runs,
                "repeated": scene.receiver.repeats.total(),
                "recovered in": "; ".join(filter(None, (self.told(), *also))),
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


def times(took: Sequence[float]) -> str:
    """Say how often something was timed."""
    return "once" if len(took) == 1 else f"{len(took)} times"

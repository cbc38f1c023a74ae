"""The set for a fault: jobs that move, sinks that listen, a daemon, and a judge.

What goes wrong, and when, is the test's; how it all ends is told here once.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from support.daemon_process import DaemonProcess, daemon_process, hook_names
from support.databases import PostgresServer
from support.judge import Books, Judge, books_of, told_twice
from support.moving_jobs import MovingJobs, moving_jobs
from support.recording_receiver import Recording, recording
from support.watching import until

A_SECOND = 10
"""Jobs that are at least settled in a second: a long run leaves thousands behind."""
OUT_ALONE = "the process ended 3 times while only this event was out"
STANDSTILL = 60.0
"""s without a delivery after which what is waiting will not come any more."""
STORE_LOOKS = 0.3
"""s between looks into the store: each reads much of it."""
_SETTLED = "SELECT count(*) FROM event WHERE type = 'tunewatch.job.settled'"


@dataclass(slots=True, kw_only=True)
class Scene:
    """One daemon under fire, and everybody around it."""

    url: str
    names: list[str]
    receiver: Recording
    moving: MovingJobs
    daemon: DaemonProcess
    judge: Judge
    ended: list[int] = field(default_factory=list)
    """Lives of the daemon that a kill ended."""
    set_aside: int = 0
    """Events given up because three ends in a row met them out and alone."""
    ready_in: list[float] = field(default_factory=list)
    """s that each start took."""

    @property
    def engine(self) -> str:
        """What the store runs on."""
        return self.url.partition(":")[0]

    async def start(self) -> None:
        """Start a daemon, in a life of its own."""
        await self.begin_life()
        self.ready_in.append(await self.daemon.start())

    async def begin_life(self) -> None:
        """Have what comes from now on counted for a new life of the daemon."""
        await self.receiver.silence()
        self.receiver.life += 1
        self.judge.books.expire_leases()

    async def at_work(self) -> None:
        """Wait until this life's daemon delivers."""
        before = self.receiver.arrivals
        await until(lambda: self.receiver.arrivals > before, what="it delivers")

    async def goes_on(self, *, within: float = 60.0) -> float:
        """Wait until the daemon is ready and delivers again; return the seconds."""
        began, before = time.monotonic(), self.receiver.arrivals

        async def is_back() -> bool:
            status, _ = await self.daemon.asked("/readyz")
            return status == 200 and self.receiver.arrivals > before

        await until(is_back, within=within, every=0.05, what="it delivers again")
        return time.monotonic() - began

    async def pauses(self, reason: str) -> None:
        """Wait until it is not ready, for a reason that has this word."""
        assert await self.may_pause(reason), f"/readyz does not say {reason!r}"

    async def may_pause(self, reason: str, *, within: float = 30.0) -> bool:
        """Wait for the same if it comes; return whether it did."""
        due = time.monotonic() + within
        while time.monotonic() < due:
            status, text = await self.daemon.asked("/readyz")
            if status == 503 and reason in text:
                return True
            await asyncio.sleep(0.1)
        return False

    async def stands(self) -> tuple[int, float, str]:
        """Return whether it is ready, whether the store takes writes, and why not."""
        status, text = await self.daemon.asked("/readyz")
        up = await self.daemon.metric("tunewatch_state_up")
        return status, up, " ".join(json.loads(text)["reasons"])

    async def kill(self) -> None:
        """Kill the daemon and look at what it left."""
        await self.daemon.kill()
        self.ended.append(self.receiver.life)
        self.judge.audit()
        # At once: waiting for what counts as delivered would take for ever.
        broken = self.judge.false_done[:5] + self.judge.unsound
        assert not broken, broken

    async def play_out(self) -> None:
        """Without faults: every job to its end, everything told, a fresh job too."""
        self.moving.is_closing = True
        self.moving.speed *= 4
        rows = self.judge.books.rows
        await until(lambda: not self.moving.unfinished(), within=120, what="jobs end")
        jobs = len(self.moving.jobs)
        await until(
            lambda: rows(_SETTLED) == [(str(jobs),)],
            within=60 + jobs / A_SECOND,
            every=STORE_LOOKS,
            what=f"{jobs} jobs are settled",
        )
        await self.give_again()
        await self.all_delivered()
        fresh = self.moving.add()
        await until(
            lambda: all(
                (name, fresh.id) in self.receiver.newest for name in self.names
            ),
            what="a fresh job is told to everybody",
        )

    async def give_again(self) -> None:
        """Have what was set aside sent again, as the operator would.

        The daemon cannot know that it is killed by chance: by design an event which
        alone was out at three ends in a row is a dead letter.
        """
        buried = self.judge.read().buried
        others = [row for row in buried if not row[-1].startswith(OUT_ALONE)]
        assert not others, others[:5]
        if not buried:
            return
        self.set_aside += len(buried)
        config = str(self.daemon.configure())
        asked = ("redeliver", "--dead", "--config", config)
        done = await asyncio.to_thread(self.daemon.program, *asked)
        assert done.code == 0, done.out + done.err

    async def all_delivered(self) -> None:
        """Let the API stand still until the receiver has everything."""
        self.moving.is_frozen = True
        await asyncio.sleep(1.0)  # what was being read then is committed by now
        # A backlog takes as long as it takes; only standing still is a failure.
        left = self.judge.outstanding()
        while left:
            before, due = left, time.monotonic() + STANDSTILL
            while (left := self.judge.outstanding()) >= before:
                assert time.monotonic() < due, self._undelivered()
                await asyncio.sleep(STORE_LOOKS)
        self.moving.is_frozen = False

    def _undelivered(self) -> str:
        stuck = [f"{name}: {event.id}" for name, event in self.judge.waiting]
        return f"{len(stuck)} are not delivered for {STANDSTILL:.0f} s: {stuck[:5]}"

    async def close(self) -> Books:
        """Stop the daemon in order and return the books of a finished store."""
        await self.all_delivered()
        self.moving.is_frozen = True
        code, _ = await self.daemon.stop()
        assert code == 0, self.daemon.said()
        self.judge.audit()
        return self.judge.read()

    def repeats(self) -> list[int]:
        """Return how many repeats each kill has cost."""
        return [self.receiver.repeats[life] for life in self.ended]

    def figures(self, books: Books) -> dict[str, object]:
        """Return what the table tells; how long starts took, if any was measured."""
        repeats = self.repeats() or [0]
        lost = len(self.judge.missing())
        aside = f"; {self.set_aside} set aside" if self.set_aside else ""
        ready: dict[str, object] = {}
        if self.ready_in:
            ready["recovered in"] = f"{max(self.ready_in):.1f} s at most"
        return {
            "engine": self.engine,
            "runs": len(self.ended),
            "lost": f"{lost} of {len(books.events) * len(self.names)}",
            "repeated": f"{mean(repeats):.1f} a kill, most {max(repeats)}{aside}",
            "out of order": len(self.receiver.inversions),
            **ready,
        }

    def recoveries(
        self, books: Books, *, runs: int, took: Sequence[float]
    ) -> dict[str, object]:
        """Return the figures of faults that the daemon outlived, and s they took."""
        return self.figures(books) | {
            "runs": runs,
            "repeated": self.receiver.repeats.total(),
            "recovered in": f"{max(took):.1f} s at most",
        }

    def acquit(self, books: Books) -> None:
        """Fail unless everything that must always be true was true."""
        judge, receiver = self.judge, self.receiver
        found = {
            "lost": judge.missing(),
            "counted as delivered": judge.false_done,
            "unsound": judge.unsound,
            "invented": judge.invented(),
            "out of order": receiver.inversions,
            "sent twice for no reason": receiver.uncalled,
            "other bytes": receiver.altered,
            "other id in the header": receiver.misnamed,
            "dead letters": books.buried,
            "told twice": told_twice(books.events),
        }
        broken = {promise: cases[:5] for promise, cases in found.items() if cases}
        assert not broken, broken


@asynccontextmanager
async def fault_scene(
    directory: Path,
    url: str,
    server: PostgresServer,
    chance: random.Random,
    *,
    sinks: int = 20,
    at_once: int = 8,
    grace: float = 5.0,
    kind: type[DaemonProcess] = DaemonProcess,
) -> AsyncIterator[Scene]:
    """Set the scene; the daemon is not started yet."""
    names = list(hook_names(sinks))
    async with (
        recording(chance) as receiver,
        moving_jobs(chance, at_once=at_once) as moving,
        daemon_process(
            directory / "daemon",
            state=url,
            api_url=moving.url,
            hooks={name: receiver.url(name) for name in names},
            grace=grace,
            kind=kind,
        ) as daemon,
    ):
        yield Scene(
            url=url,
            names=names,
            receiver=receiver,
            moving=moving,
            daemon=daemon,
            judge=Judge(books=books_of(url, server), receiver=receiver, plugins=names),
        )

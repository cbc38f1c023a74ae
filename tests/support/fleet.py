"""Several replicas of the daemon on one PostgreSQL, each on a wire of its own.

What goes wrong with which is the test's; who has what, by the lease table, and how it
all ends is told here once.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import msgspec

from support.daemon_process import DaemonProcess, daemon_process, hook_names
from support.databases import PostgresServer
from support.fault_scene import Scene
from support.holdings import Holdings
from support.judge import Books, Judge, PostgresBooks
from support.moving_jobs import moving_jobs
from support.private_network import Line
from support.recording_receiver import recording
from support.watching import until
from support.wire import Wire, wire

PATIENCE = 90.0
"""s for what takes seconds on a machine that does nothing else."""


@dataclass(slots=True, kw_only=True)
class Replica(DaemonProcess):
    """One of them, with all sources configured."""

    name: str = ""
    sources: Sequence[str] = ()
    wire: Wire | Line = field(default_factory=Wire)
    every: str = "200ms"  #: how often a source is polled
    is_frozen: bool = False
    _owner: str | None = None
    _said_before: int = 0

    async def spawn(self) -> asyncio.subprocess.Process:
        """See `DaemonProcess`."""
        self._owner = None
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        return await super(Replica, self).spawn()

    @property
    def owner(self) -> str | None:
        """How this process is called in the lease table; None before its first."""
        if self._owner is None and self.log.exists():
            lines = self.log.read_bytes()[self._said_before :].splitlines()
            for line in lines:
                if b'"lease.held"' in line:
                    self._owner = str(msgspec.json.decode(line)["owner"])
                    break
        return self._owner

    def tables(self) -> str:
        """See `DaemonProcess`: one project each."""
        return "\n".join(
            f"[sources.{one}]\napi_key = 'sk-{one}'\nbase_url = '{self.api_url}'\n"
            f"poll_interval = '{self.every}'\nidle_interval = '{self.every}'"
            for one in self.sources
        )


@dataclass(slots=True, kw_only=True)
class Fleet(Scene):
    """The replicas, and everybody around them."""

    replicas: list[Replica]
    holdings: Holdings
    table: asyncpg.Connection[asyncpg.Record] | None = None

    async def begin(self, *replicas: Replica) -> None:
        """Start some at once, in a life of their own beside the others."""
        self.receiver.life += 1
        async with asyncio.TaskGroup() as tasks:
            for one in replicas or self.replicas:
                tasks.create_task(one.start(), name=f"start:{one.name}")

    async def shared_evenly(self) -> float:
        """Wait until no replica has two more than another; return the seconds."""
        began = time.monotonic()
        await until(self.is_even, within=PATIENCE, every=0.05, what="shares are even")
        return time.monotonic() - began

    async def shares(self) -> Counter[str]:
        """Return how many sources each process has, by the lease table."""
        rows = await self.ask(
            "SELECT owner, count(*) FROM lease"
            " WHERE expires_at > extract(epoch from clock_timestamp()) GROUP BY owner"
        )
        return Counter({row[0]: row[1] for row in rows})

    async def ask(self, sql: str) -> list[asyncpg.Record]:
        """Return the rows of a question to the database; none while it is away."""
        try:
            if self.table is None:
                self.table = await asyncpg.connect(self.url)
            return await self.table.fetch(sql)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.table = None
            return []

    async def has(self, *replicas: Replica) -> int:
        """Return how many sources some replicas have."""
        shares = await self.shares()
        return sum(shares[one.owner] for one in replicas if one.owner is not None)

    async def all_held_by(
        self, *replicas: Replica, within: float = PATIENCE, what: str = "taken over"
    ) -> float:
        """Wait until they have every source between them; return the seconds."""
        began, every = time.monotonic(), len(replicas[0].sources)
        async with asyncio.timeout(within + 10):
            while await self.has(*replicas) < every:
                assert time.monotonic() - began < within, what
                await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def is_even(self) -> bool:
        """Whether no replica has two sources more than another."""
        counts = [await self.has(one) for one in self.replicas]
        every = len(self.replicas[0].sources)
        return sum(counts) == every and max(counts) - min(counts) <= 1

    async def lost(self, how: str) -> int:
        """Return how often a replica, as it runs now, lost a source in this way."""
        begins, count = f'tunewatch_lease_lost_total{{how="{how}"', 0.0
        for one in self.replicas:
            _, text = await one.asked("/metrics")
            series = [line for line in text.splitlines() if line.startswith(begins)]
            count += sum(float(line.rpartition(" ")[2]) for line in series)
        return round(count)

    def others(self, *but: Replica) -> list[Replica]:
        """Return the replicas but these."""
        return [one for one in self.replicas if one not in but]

    def freeze(self, one: Replica) -> None:
        """Let a process stand still, as a machine that is suspended."""
        assert one.process is not None
        self.receiver.ill.add(one.name)
        one.process.send_signal(signal.SIGSTOP)
        one.is_frozen = True

    def thaw(self, one: Replica) -> None:
        """Let it go on. What was out may come again: a new life for the receiver."""
        assert one.process is not None
        self._is_well(one)
        one.process.send_signal(signal.SIGCONT)
        one.is_frozen = False

    def cut(self, one: Replica) -> None:
        """Let nothing pass between a process and PostgreSQL."""
        self.receiver.ill.add(one.name)
        one.wire.cut()

    def thin(self, one: Replica) -> None:
        """Let half of what passes between a process and PostgreSQL be lost."""
        assert isinstance(one.wire, Line), "only a line loses packets"
        self.receiver.ill.add(one.name)
        one.wire.thin()

    def mend(self, one: Replica) -> None:
        """Let everything pass again, what was held up first."""
        one.wire.mend()
        self._is_well(one)

    @asynccontextmanager
    async def all_ill(self) -> AsyncIterator[None]:
        """Let nobody be blamed for what is lost with the way to the database."""
        self.receiver.ill.update(one.name for one in self.replicas)
        yield
        for one in self.replicas:
            self._is_well(one)

    def _is_well(self, one: Replica) -> None:
        self.receiver.ill.discard(one.name)
        self.receiver.well_since[one.name] = time.monotonic()
        self.receiver.life += 1

    async def kill_one(self, one: Replica) -> None:
        """Kill -9."""
        await one.kill()
        self.ended.append(self.receiver.life)
        self.receiver.life += 1

    async def end(self, one: Replica) -> float:
        """Stop one in order; return the seconds until others had what it had."""
        assert one.process is not None
        one.process.send_signal(signal.SIGTERM)
        took = await self.all_held_by(*self.others(one))
        async with asyncio.timeout(PATIENCE):
            code = await one.process.wait()
        assert code == 0, one.said()
        return took

    async def all_delivered(self) -> None:
        """See `Scene`; what is missing is told, with who has what."""
        try:
            await super(Fleet, self).all_delivered()
        except AssertionError as error:
            books = self.judge.read()
            lanes = await self.ask("SELECT * FROM lane")
            found = self.judge.missing()[:5], books.buried, dict(await self.shares())
            raise AssertionError(f"{error}: {found}; {lanes[:5]}") from None

    async def close(self) -> Books:
        """Stop all in order and return the books of a finished store."""
        await self.all_delivered()
        self.moving.is_frozen = True
        for one in self.replicas:
            code, _ = await one.stop()
            assert code == 0, one.said()
        self.judge.audit()
        return self.judge.read()

    def acquit(self, books: Books) -> None:
        """See `Scene`; and no two may ever have told of one source."""
        super(Fleet, self).acquit(books)
        assert self.holdings.told_twice() == []
        assert self.holdings.answers > 0
        for one in self.replicas:
            said = one.log.read_text()
            assert "Traceback" not in said, one.said()


@asynccontextmanager
async def fleet(
    directory: Path,
    url: str,
    server: PostgresServer,
    chance: random.Random,
    *,
    replicas: int = 3,
    sources: int = 12,
    at_once: int = 12,
    sinks: int = 2,
    grace: float = 20.0,
    every: str = "200ms",
    through: Callable[[str], str] | None = None,
    behind: int | None = None,
    lines: Sequence[Line] = (),
) -> AsyncIterator[Fleet]:
    """Set the scene; no replica is started yet.

    `through` makes of the store's address the one that replicas use, else each has a
    wire of its own: to the server, or to the port of a pooler that it is `behind`. With
    `lines` each has the address of one.
    """
    names = list(hook_names(sinks))
    projects = [f"s{number:03}" for number in range(sources)]
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(recording(chance))
        keys = {f"sk-{one}": one for one in projects}
        moving = await stack.enter_async_context(
            moving_jobs(chance, at_once=at_once, keys=keys)
        )
        made: list[Replica] = []
        for number in range(replicas):
            laid: Wire | Line
            if lines:
                laid = lines[number]
                own = url.replace("127.0.0.1", laid.address)
            else:
                laid = await stack.enter_async_context(wire(behind or server.port))
                own = url.replace(f":{server.port}/", f":{laid.port}/")
            one = await stack.enter_async_context(
                daemon_process(
                    directory / f"replica{number}",
                    state=own if through is None else through(url),
                    api_url=moving.url,
                    # So that the receiver can tell whose it is.
                    hooks={name: f"{receiver.url(name)}?r{number}" for name in names},
                    grace=grace,
                    kind=Replica,
                    # Who starts it warm may be in another network.
                    is_cold=bool(lines),
                )
            )
            assert isinstance(one, Replica)
            one.name, one.sources, one.wire = f"r{number}", projects, laid
            one.every = every
            made.append(one)
        holdings = Holdings()
        database = url.rpartition("/")[2]
        judge = Judge(
            books=PostgresBooks(server, database), receiver=receiver, plugins=names
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watching = [
            tasks.create_task(
                holdings.watch(one.name, one.port, _starts(one)),
                name=f"watch:{one.name}",
            )
            for one in made
        ]
        scene = Fleet(
            url=url,
            names=names,
            receiver=receiver,
            moving=moving,
            daemon=made[0],
            judge=judge,
            replicas=made,
            holdings=holdings,
        )
        try:
            yield scene
        finally:
            for task in watching:
                task.cancel()
            if scene.table is not None:
                scene.table.terminate()


def _starts(one: Replica) -> Callable[[], int]:
    return lambda: one.starts

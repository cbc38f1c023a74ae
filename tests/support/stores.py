"""A real store for a test: opened, with one source leased, and time in the hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Engine, event

from tunewatch.diff import Observation
from tunewatch.events import Event, decode
from tunewatch.model import Checkpoint, Entry, Job, MetricPoint
from tunewatch.store.opening import Store, open_store
from tunewatch.store.records import Committed, EventRef, Fence, JobFault, SourceRow

T0 = 1_760_000_000.0
"""Unix seconds at which the tests' time begins."""
REALM = "openai:https://api.example.com"


@dataclass(slots=True)
class HandClock:
    """Time that moves when a test says so."""

    wall: float = T0
    steady: float = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def decode_job(raw: bytes) -> Job:
    """Read a job whose raw item is the neutral form itself."""
    return msgspec.json.decode(raw, type=Job)


def raw_job(job_id: str, status: str = "running", **fields: Any) -> bytes:
    """Return a job as a provider would answer it."""
    said = {"id": job_id, "status": status, "created_at": int(T0), **fields}
    return json.dumps(said).encode()


def message(number: int, text: str = "a step was made") -> Entry:
    """Return a message of a job's event list."""
    return Entry(id=f"ev-{number}", created_at=int(T0) + number, message=text)


def metrics(number: int, step: int, **values: float) -> Entry:
    """Return the metrics of a step, as an entry of a job's event list."""
    point = MetricPoint(step=step, values=values)
    return Entry(id=f"ev-{number}", created_at=int(T0) + number, point=point)


def checkpoint(step: int, **values: float) -> Checkpoint:
    """Return a checkpoint."""
    return Checkpoint(id=f"ckpt-{step}", step=step, metrics=values)


@dataclass(slots=True)
class Desk:
    """A store with one source, and what its listeners heard."""

    store: Store
    clock: HandClock
    source: SourceRow
    held: Fence
    heard: list[EventRef] = field(default_factory=list)
    looks: int = 0

    def look(self, job_id: str, **seen: Any) -> Observation:
        """Return the next look at a job."""
        self.looks += 1
        values = {"look": self.looks, "at": self.clock.now(), **seen}
        return Observation(job_id=job_id, **values)

    async def commit(self, *looks: Observation) -> list[Committed | JobFault]:
        """Commit looks at jobs of the source."""
        journal = self.store.journal
        return await journal.commit(self.held, looks, decode=decode_job)

    async def saw(self, job_id: str, **seen: Any) -> Committed:
        """Commit one look and return what became of it."""
        [outcome] = await self.commit(self.look(job_id, **seen))
        assert isinstance(outcome, Committed), outcome
        return outcome


def told(events: Sequence[EventRef]) -> list[Event]:
    """Return events as their receivers read them."""
    return [decode(ref.body) for ref in events]


def types(events: Sequence[EventRef]) -> list[str]:
    """Return the types of events."""
    return [ref.type for ref in events]


@asynccontextmanager
async def open_desk(
    url: str,
    *,
    clock: HandClock | None = None,
    owner: str = "one",
    source: str = "research",
) -> AsyncIterator[Desk]:
    """Open a store, take the lease of a source, give it back at a clean end."""
    clock = clock or HandClock()
    async with open_store(url, clock=clock, owner=owner) as store:
        row = await store.sources.contact(source, "openai", REALM)
        held = await store.leases.acquire(row.id)
        assert held is not None
        desk = Desk(store, clock, row, held)
        store.journal.listen(desk.heard.extend)
        yield desk
        await store.leases.release(held)


@contextmanager
def statements_noted() -> Iterator[list[tuple[str, object]]]:
    """Lend what SQLAlchemy is given meanwhile: statements, each with its parameters.

    Of many rows those of the first. PostgreSQL's driver is mostly asked without it.
    """
    given: list[tuple[str, object]] = []

    def note(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: Sequence[object],
        _context: object,
        many: bool,
    ) -> None:
        given.append((statement, parameters[0] if many else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield given
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def make_tables(url: str) -> None:
    """Open a store once, so that it has its tables."""
    async with open_store(url, clock=HandClock(), owner="tables"):
        pass

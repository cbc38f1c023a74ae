"""The judge: what the store committed is an obligation, what came is the proof.

Reads the store from outside, by SQL of its own, and never writes to it: an SQLite file
is copied with its log first, so that the daemon finds it as it left it.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from support.databases import PostgresServer
from support.recording_receiver import Recording

_EVENTS = (
    "SELECT position, id, job_key, type, sequence, hex(body) FROM event"
    " WHERE position > {after} ORDER BY position"
)


class EventRow(NamedTuple):
    """A committed event."""

    position: int
    id: str
    job_key: int
    type: str
    sequence: int
    body: bytes

    @property
    def digest(self) -> bytes:
        """What a receiver must have of its body."""
        return hashlib.blake2b(self.body, digest_size=16).digest()


class Books(NamedTuple):
    """What the store says at one moment."""

    events: list[EventRow]
    marks: dict[str, int]
    lanes: dict[tuple[str, int], int]  #: cursor by plugin and job
    buried: list[tuple[str, int, int, int, str]]
    """Open dead letters: plugin, job, first and last position, reason."""

    def has_buried(self, plugin: str, event: EventRow) -> bool:
        """Whether an event counts as finished because it was given up."""
        return any(
            (name, job) == (plugin, event.job_key) and first <= event.position <= last
            for name, job, first, last, _ in self.buried
        )


class Bookkeeper(Protocol):
    """Reads a store that a daemon may or may not be running on."""

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """Return rows as text."""
        ...

    def sound(self) -> str:
        """Return "ok" if the store holds together, else what is wrong."""
        ...

    def expire_leases(self) -> None:
        """Let the time pass that a lease outlives a killed daemon."""
        ...


@dataclass(slots=True)
class SqliteBooks:
    """An SQLite store."""

    path: Path
    hexed: str = "hex"

    @contextmanager
    def _copied(self) -> Iterator[sqlite3.Connection]:
        copy = self.path.parent / "judged"
        copy.mkdir(exist_ok=True)
        for suffix in ("", "-wal"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                shutil.copy(part, copy / part.name)
        try:
            with closing(sqlite3.connect(copy / self.path.name)) as connection:
                yield connection
        finally:
            shutil.rmtree(copy)

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """See `Bookkeeper`. One state, beside a writer too."""
        uri = f"file:{self.path}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
            found = connection.execute(sql).fetchall()
        return [tuple(str(value) for value in row) for row in found]

    def sound(self) -> str:
        """See `Bookkeeper`. For a store whose daemon is dead: reads a copy."""
        with self._copied() as connection:
            [[said]] = connection.execute("PRAGMA integrity_check(1)").fetchall()
        return str(said)

    def expire_leases(self) -> None:
        """See `Bookkeeper`. The lock ended with the process: nothing to wait for."""


@dataclass(slots=True)
class PostgresBooks:
    """A PostgreSQL store."""

    server: PostgresServer
    database: str

    def rows(self, sql: str) -> list[tuple[str, ...]]:
        """See `Bookkeeper`."""
        spelled = sql.replace("hex(body)", "encode(body, 'hex')")
        lines = self.server.run(spelled, self.database)
        return [tuple(line.split("|")) for line in lines]

    def sound(self) -> str:
        """See `Bookkeeper`. Its own recovery answers for the pages."""
        return "ok"

    def expire_leases(self) -> None:
        """See `Bookkeeper`. Stands for the 12 s that everybody else would wait."""
        self.server.run("UPDATE lease SET expires_at = 0", self.database)


def books_of(url: str, server: PostgresServer | None = None) -> Bookkeeper:
    """Return who reads the store at this address."""
    if url.startswith("sqlite"):
        return SqliteBooks(Path(url.removeprefix("sqlite:///")))
    assert server is not None, "a PostgreSQL store is read by its server's psql"
    return PostgresBooks(server, url.rpartition("/")[2])


@dataclass(slots=True, kw_only=True)
class Judge:
    """Compares the books with what the receiver acknowledged."""

    books: Bookkeeper
    receiver: Recording
    plugins: Sequence[str]
    lost: list[str] = field(default_factory=list)
    false_done: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    audited: dict[str, int] = field(default_factory=dict)
    """By plugin: the position up to which everything is finished and proved."""
    waiting: list[tuple[str, EventRow]] = field(default_factory=list)
    """What was committed and not acknowledged when it was last asked for."""
    watched: int = -1  #: the last position that was ever waited for

    def read(self, after: int = -1) -> Books:
        """Return the books: cursors first, so that they are never ahead of events."""
        rows = self.books.rows
        marks = {
            plugin: int(position)
            for plugin, position in rows("SELECT plugin, position FROM mark")
            if plugin in self.plugins
        }
        lanes = {
            (plugin, int(job)): int(cursor)
            for plugin, job, cursor in rows(
                "SELECT plugin, job_key, cursor FROM lane WHERE job_key >= 0"
            )
        }
        buried = [
            (plugin, int(job), int(first), int(last), reason)
            for plugin, job, first, last, reason in rows(
                "SELECT plugin, job_key, first_position, last_position, reason"
                " FROM dead_letter WHERE closed_at IS NULL"
            )
        ]
        return Books(self._events(after), marks, lanes, buried)

    def _events(self, after: int) -> list[EventRow]:
        return [
            EventRow(
                int(position), id_, int(job), type_, int(sequence), bytes.fromhex(body)
            )
            for position, id_, job, type_, sequence, body in self.books.rows(
                _EVENTS.format(after=after)
            )
        ]

    def audit(self) -> None:
        """After an end: nothing may count as delivered that was not acknowledged."""
        said = self.books.sound()
        if said != "ok":
            self.unsound.append(said)
        floor = min((self.audited.get(one, -1) for one in self.plugins), default=-1)
        books = self.read(after=floor)
        for plugin in self.plugins:
            mark = books.marks.get(plugin, 0)
            for event in books.events:
                cursor = max(mark, books.lanes.get((plugin, event.job_key), 0))
                if event.position > cursor or self._has(plugin, event):
                    continue
                if not books.has_buried(plugin, event):
                    self.false_done.append(f"{plugin}: {event.id} ({event.type})")
            self.audited[plugin] = mark

    def outstanding(self) -> int:
        """Return how much is not acknowledged yet, for whoever waits for it.

        Reads an event once, so that a long run's end is not spent on reading its
        journal over and over. No verdict: `missing` looks at everything.
        """
        fresh = self._events(after=self.watched)
        self.watched = fresh[-1].position if fresh else self.watched
        asked = [(plugin, event) for event in fresh for plugin in self.plugins]
        self.waiting = [one for one in self.waiting + asked if not self._has(*one)]
        return len(self.waiting)

    def missing(self) -> list[str]:
        """Return what was committed and not acknowledged by now."""
        return [
            f"{plugin}: {event.id} ({event.type}) at {event.position}"
            for event in self.read().events
            for plugin in self.plugins
            if not self._has(plugin, event)
        ]

    def invented(self) -> list[str]:
        """Return what came and is not in the journal."""
        kept = {event.id for event in self.read().events}
        return [
            f"{plugin}: {event_id}"
            for plugin, event_id in self.receiver.known
            if event_id not in kept
        ]

    def _has(self, plugin: str, event: EventRow) -> bool:
        known = self.receiver.acknowledged(plugin, event.id)
        return known is not None and known.digest == event.digest


def told_twice(events: Sequence[EventRow]) -> list[str]:
    """Return what a change was told for more than once, by what a reader can see."""
    counted: Counter[tuple[str, ...]] = Counter()
    for event in events:
        data = msgspec.json.decode(event.body)["data"]
        job = str(data["id"])
        if event.type == "fine_tuning.event.metrics":
            for point in data["points"]:
                counted[job, "point", str(point["step"])] += 1
                counted[job, "n", str(point["n"])] += 1
        elif event.type == "fine_tuning.event.message":
            counted[job, "message", str(data["event_id"])] += 1
        elif event.type == "fine_tuning.checkpoint.created":
            counted[job, "checkpoint", str(data["checkpoint"]["id"])] += 1
        elif event.type.startswith("fine_tuning.job.") or event.type in {
            "tunewatch.job.discovered",
            "tunewatch.job.settled",
        }:
            counted[job, event.type] += 1
    return [" ".join(key) for key, times in counted.items() if times > 1]

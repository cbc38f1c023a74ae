"""Reading the delivery log, newest first: every call of a plugin, and the dead letters.

A call is in here as soon as the group that settled it is written; what was out when a
process was killed is not, and the in-flight marks tell of it. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, literal_column, select

from tunewatch.store import schema
from tunewatch.store.carrier import Carrier
from tunewatch.store.overview import keys_of_job
from tunewatch.store.schema import attempt, dead_letter, event, job, source

OUTCOMES = (
    "accepted",
    "receiver",
    "timeout",
    "exception",
    "event",
    "rejected",
    "paused",
    "cancelled",
)
"""What a call can come to: see `Attempted.outcome`."""


class Attempted(NamedTuple):
    """One call of a plugin."""

    id: int  #: rises with time
    plugin: str
    source: str
    job_id: str | None  #: None: of the source itself, or retention purged the job
    event_id: str
    event_type: str | None  #: None if retention purged the event
    position: int  #: of the event
    number: int  #: of the try, from 1; a restart may begin anew
    redelivery: int | None  #: the request it was made for, None: a first delivery
    at: float  #: unix seconds when it began
    seconds: float
    outcome: str
    """accepted; receiver, timeout, exception: trouble of the receiver, by its word, by
    silence, by an exception nobody expected; event: trouble of the event; rejected: for
    good; paused: it wants nothing more; cancelled: broken off by us at an end."""
    status: int | None  #: the receiver's, in its own terms, such as HTTP's
    reason: str | None  #: why it was not accepted: class and words, free of secrets
    answer: str | None  #: the beginning of what the receiver said, at most 1 KiB


class DeadLetter(NamedTuple):
    """Events that a plugin did not get, first to last, of one job."""

    id: int
    plugin: str
    source: str
    job_id: str | None
    first_position: int
    last_position: int
    first_sequence: int
    last_sequence: int
    event_id: str  #: of the first
    event_type: str | None  #: None if retention purged the event
    tries: int
    reason: str
    at: float  #: unix seconds
    closed_at: float | None  #: redelivered since


_attempts = (
    select(
        attempt.c.id,
        attempt.c.plugin,
        source.c.name,
        job.c.id.label("job_id"),
        attempt.c.event_id,
        event.c.type,
        attempt.c.position,
        attempt.c.number,
        attempt.c.redelivery,
        attempt.c.at,
        attempt.c.seconds,
        attempt.c.outcome,
        attempt.c.status,
        attempt.c.reason,
        attempt.c.answer,
    )
    .join(source, source.c.id == attempt.c.source_id)
    .join(job, job.c.key == attempt.c.job_key, isouter=True)
    .join(event, event.c.position == attempt.c.position, isouter=True)
)
_letters = (
    select(
        dead_letter.c.id,
        dead_letter.c.plugin,
        source.c.name,
        job.c.id.label("job_id"),
        dead_letter.c.first_position,
        dead_letter.c.last_position,
        dead_letter.c.first_sequence,
        dead_letter.c.last_sequence,
        dead_letter.c.event_id,
        event.c.type,
        dead_letter.c.tries,
        dead_letter.c.reason,
        dead_letter.c.at,
        dead_letter.c.closed_at,
    )
    .join(source, source.c.id == dead_letter.c.source_id)
    .join(job, job.c.key == dead_letter.c.job_key, isouter=True)
    .join(event, event.c.id == dead_letter.c.event_id, isouter=True)
)
# As a literal: a bound value would keep PostgreSQL off the index of those that failed.
_FAILED: ColumnElement[bool] = literal_column("attempt.outcome <> 'accepted'")


class Deliveries:
    """The delivery log and the dead letters. Every method may raise StoreFault.

    Everything is newest first; `after` is the id of the last one had before, and the
    answer goes on behind it.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def attempts(
        self,
        *,
        plugin: str | None = None,
        source: str | None = None,
        job_id: str | None = None,
        event_id: str | None = None,
        outcomes: Sequence[str] | None = None,
        redelivery: int | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[Attempted]:
        """Return calls of plugins. `outcomes`: only these; times are unix seconds."""
        wanted = _attempts
        if plugin is not None:
            wanted = wanted.where(attempt.c.plugin == plugin)
        if source is not None:
            wanted = wanted.where(schema.source.c.name == source)
        if event_id is not None:
            its_job = select(event.c.job_key).where(event.c.id == event_id)
            wanted = wanted.where(
                attempt.c.job_key.in_(its_job), attempt.c.event_id == event_id
            )
        if outcomes is not None:
            wanted = wanted.where(attempt.c.outcome.in_(outcomes))
            if "accepted" not in outcomes:
                wanted = wanted.where(_FAILED)
        if redelivery is not None:
            wanted = wanted.where(attempt.c.redelivery == redelivery)
        if since is not None:
            wanted = wanted.where(attempt.c.at >= since)
        if until is not None:
            wanted = wanted.where(attempt.c.at < until)
        if after is not None:
            wanted = wanted.where(attempt.c.id < after)
        statement = wanted.order_by(attempt.c.id.desc()).limit(limit)
        return await self._carrier.read(partial(_read_attempts, statement, job_id))

    async def dead_letters(
        self,
        *,
        plugin: str | None = None,
        source: str | None = None,
        job_id: str | None = None,
        only_open: bool = True,
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> list[DeadLetter]:
        """Return dead letters. Times are unix seconds of when they became that."""
        wanted = _letters
        if plugin is not None:
            wanted = wanted.where(dead_letter.c.plugin == plugin)
        if source is not None:
            wanted = wanted.where(schema.source.c.name == source)
        if only_open:
            wanted = wanted.where(dead_letter.c.closed_at.is_(None))
        if since is not None:
            wanted = wanted.where(dead_letter.c.at >= since)
        if until is not None:
            wanted = wanted.where(dead_letter.c.at < until)
        if after is not None:
            wanted = wanted.where(dead_letter.c.id < after)
        statement = wanted.order_by(dead_letter.c.id.desc()).limit(limit)
        return await self._carrier.read(partial(_read_letters, statement, job_id))


def _read_attempts(
    statement: Select[Any], job_id: str | None, connection: Connection
) -> list[Attempted]:
    if job_id is not None:
        keys = keys_of_job(connection, job_id)
        statement = statement.where(attempt.c.job_key.in_(keys))
    return [Attempted(*row) for row in connection.execute(statement)]


def _read_letters(
    statement: Select[Any], job_id: str | None, connection: Connection
) -> list[DeadLetter]:
    if job_id is not None:
        keys = keys_of_job(connection, job_id)
        statement = statement.where(dead_letter.c.job_key.in_(keys))
    return [DeadLetter(*row) for row in connection.execute(statement)]

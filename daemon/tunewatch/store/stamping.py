"""Happenings become events: an id, a sequence, a body, and last a position.

The position row is updated last in every transaction that commits events, so commit
order is position order. Knows nothing of what made an event happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from tunewatch.events import Common, Event, Happening, Payload, encode, event_id, iso
from tunewatch.store.records import EventRef
from tunewatch.store.schema import event
from tunewatch.store.statements import Batch

_written = select(event.c.position).where(
    event.c.position > bindparam("after"), event.c.position <= bindparam("last")
)


class About(NamedTuple):
    """What the events of one job (or source) in one commit have in common."""

    source_id: int
    job_key: int  #: 0 for events of the source itself
    source: str
    realm: str
    owner: str  #: the job's id, or the source's name
    status: str | None
    metadata: bytes | None
    backfilled: bool
    now: float  #: unix seconds of the commit


class Draft(NamedTuple):
    """An event that only lacks its position."""

    id: str
    type: str
    about: About
    sequence: int
    derived: bool
    body: bytes


def sequence_after(last: int, now: float) -> int:
    """Return the next sequence: it rises even after a restore from backup."""
    return max(last + 1, int(now * 1000))


def drafts(
    happenings: Sequence[Happening], about: About, last: int
) -> tuple[list[Draft], int]:
    """Return the drafts of happenings and the last sequence taken."""
    made: list[Draft] = []
    for happening in happenings:
        last = sequence_after(last, about.now)
        name = event_id(about.realm, about.owner, happening.type, happening.key)
        created_at = happening.created_at
        made.append(
            draft(
                name,
                happening.type,
                happening.payload,
                about,
                sequence=last,
                created_at=int(about.now) if created_at is None else created_at,
            )
        )
    return made, last


def draft(
    name: str,
    event_type: str,
    payload: Payload,
    about: About,
    *,
    sequence: int,
    created_at: int,
    derived: bool = False,
) -> Draft:
    """Return one event encoded, as it will be sent at every try."""
    common = Common(
        id=about.owner,
        source=about.source,
        realm=about.realm,
        status=about.status,
        sequence=sequence,
        observed_at=iso(about.now),
        backfilled=about.backfilled,
    )
    body = encode(
        Event(
            id=name,
            type=event_type,
            created_at=created_at,
            common=common,
            payload=payload,
        )
    )
    return Draft(name, event_type, about, sequence, derived, body)


def append(
    connection: Connection, batch: Batch, made: Sequence[Draft]
) -> list[EventRef]:
    """Run the batch, with the events at its end, as the last act of a transaction.

    An event whose id is there already is left out.
    """
    rows = [
        (
            one.id,
            one.about.source_id,
            one.about.job_key,
            one.type,
            one.sequence,
            one.about.now,
            one.derived,
            one.body,
        )
        for one in made
    ]
    last, count = batch.write(rows)
    first = last - len(made) + 1
    refs = [_ref(at, one) for at, one in enumerate(made, first)]
    if count == len(made):
        return refs
    found = connection.execute(_written, {"after": first - 1, "last": last}).scalars()
    written = set(found)
    return [ref for ref in refs if ref.position in written]


def _ref(at: int, one: Draft) -> EventRef:
    return EventRef(
        position=at,
        source_id=one.about.source_id,
        job_key=one.about.job_key,
        type=one.type,
        id=one.id,
        derived=one.derived,
        metadata=one.about.metadata,
        body=one.body,
    )

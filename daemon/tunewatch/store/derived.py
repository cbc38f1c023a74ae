"""What reactors conclude: events written in the transaction of their cause's end.

Knows that a conclusion holds for one revision of a job; not how it was reached.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, select

from tunewatch.events import DERIVED_TYPES, derived_id
from tunewatch.events.wire import payload_of
from tunewatch.model import Selection
from tunewatch.plugin import Derived
from tunewatch.store.counters import Growth
from tunewatch.store.lease_rows import database_clock
from tunewatch.store.leases import fence
from tunewatch.store.records import EventRef, Fence
from tunewatch.store.schema import job
from tunewatch.store.stamping import About, Draft, append, draft, sequence_after
from tunewatch.store.statements import Batch

_job = (
    select(job.c.id, job.c.revision, job.c.sequence, job.c.status, job.c.metadata)
    .where(job.c.key == bindparam("job_key"))
    .with_for_update()
)


def append_derived(  # noqa: PLR0917 - in the order of the sentence it makes
    connection: Connection,
    held: Fence,
    job_key: int,
    expected_revision: int,
    cause_event_id: str,
    plugin: str,
    concluded: Sequence[Derived],
    *,
    now: float | None = None,
) -> list[EventRef] | None:
    """Write derived events and return them; `now` is the database's clock if not given.

    None if the job has moved on since `expected_revision`: then nothing was written and
    the reactor is to be asked again. The revision stays: a reactor's own words must not
    invalidate what it read. Call it last: it moves the position.

    Raises LeaseLost, ValueError for a type that no reactor may conclude, and
    msgspec.ValidationError for data that is not of its type.
    """
    holder = fence(connection, held)
    if now is None:
        now = connection.execute(select(database_clock(connection))).scalar_one()
    row = connection.execute(_job, {"job_key": job_key}).one_or_none()
    if row is None or row.revision != expected_revision:
        return None
    about = About(
        source_id=held.source_id,
        job_key=job_key,
        source=holder.name,
        realm=holder.realm,
        owner=row.id,
        status=row.status,
        metadata=row.metadata,
        backfilled=False,
        now=now,
    )
    made = _drafts(concluded, about, row.sequence, cause_event_id, plugin)
    if not made:
        return []
    chosen = Selection(
        type=made[-1].type,
        event_id=made[-1].id,
        created_at=int(now),
        data=dict(concluded[-1].data),
    )
    batch = Batch(connection)
    kept = (made[-1].sequence, msgspec.json.encode(chosen), job_key)
    batch.update(job, ("sequence", "selection"), ("key",), [kept])
    growth = Growth(connection)
    for one in made:
        growth.of(held.source_id).add("events", {"type": one.type})
    growth.write(batch)
    return append(connection, batch, made)


def _drafts(
    concluded: Sequence[Derived], about: About, last: int, cause: str, plugin: str
) -> list[Draft]:
    made: list[Draft] = []
    for index, one in enumerate(concluded):
        if one.type not in DERIVED_TYPES:
            allowed = ", ".join(sorted(DERIVED_TYPES))
            raise ValueError(f"a reactor may conclude {allowed}, not {one.type!r}")
        last = sequence_after(last, about.now)
        made.append(
            draft(
                derived_id(cause, plugin, index, one.data),
                one.type,
                payload_of(one.type, dict(one.data)),
                about,
                sequence=last,
                created_at=int(about.now),
                derived=True,
            )
        )
    return made

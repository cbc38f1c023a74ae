"""What is kept of a source beside its row's columns, and the events it makes of that.

Knows that down and up alternate, so that a repetition tells nothing.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field
from sqlalchemy import Connection, select, update

from tunewatch.events import Happening, SourceDown, SourceUp
from tunewatch.events.identity import digest
from tunewatch.store.counters import Growth
from tunewatch.store.leases import fence
from tunewatch.store.records import EventRef, Fence
from tunewatch.store.schema import source
from tunewatch.store.stamping import About, append, drafts
from tunewatch.store.statements import Batch


class SourceState(Struct, frozen=True, kw_only=True):
    """What is kept of a source beside its row's columns."""

    down: bool = False
    since: str | None = None  #: ISO 8601, of the outage that was told last
    reason: str | None = None
    counts: dict[str, int] = field(default_factory=dict)  #: n-th time, by event type
    listed_at: float | None = None  #: unix seconds of the last complete list walk
    former: tuple[str, ...] = ()  #: the names it had before


_states = msgspec.json.Decoder(SourceState)


def source_state(connection: Connection, source_id: int) -> SourceState:
    """Return the state of a source."""
    state = connection.scalar(select(source.c.state).where(source.c.id == source_id))
    return _states.decode(state or b"{}")


def note_listed(connection: Connection, held: Fence, at: float) -> None:
    """Keep when the whole list was read last. Raises LeaseLost."""
    fence(connection, held)
    theirs = source.c.id == held.source_id
    kept = connection.scalar(select(source.c.state).where(theirs).with_for_update())
    after = msgspec.structs.replace(_states.decode(kept or b"{}"), listed_at=at)
    encoded = msgspec.json.encode(after)
    connection.execute(update(source).where(theirs).values(state=encoded))


def tell_outage(
    connection: Connection, held: Fence, payload: SourceDown | SourceUp, now: float
) -> list[EventRef]:
    """Tell that a source is down or up, inside of a transaction. Raises LeaseLost."""
    holder = fence(connection, held)
    row = connection.execute(
        select(source.c.sequence, source.c.state)
        .where(source.c.id == held.source_id)
        .with_for_update()
    ).one()
    state = _states.decode(row.state)
    is_down = isinstance(payload, SourceDown)
    if state.down == is_down:
        return []
    about = About(
        source_id=held.source_id,
        job_key=0,
        source=holder.name,
        realm=holder.realm,
        owner=holder.name,
        status=None,
        metadata=None,
        backfilled=False,
        now=now,
    )
    happening = _happening(payload, state)
    made, sequence = drafts([happening], about, row.sequence)
    after = msgspec.structs.replace(
        state,
        down=is_down,
        since=payload.since,
        reason=payload.reason,
        counts={**state.counts, happening.type: happening.key[0]},
    )
    batch = Batch(connection)
    kept = (sequence, msgspec.json.encode(after), held.source_id)
    batch.update(source, ("sequence", "state"), ("id",), [kept])
    growth = Growth(connection)
    growth.of(held.source_id).add("events", {"type": happening.type})
    growth.write(batch)
    return append(connection, batch, made)


def _happening(payload: SourceDown | SourceUp, state: SourceState) -> Happening:
    n = state.counts.get(payload.TYPE, 0) + 1
    key = (n, digest([payload.since]))
    return Happening(type=payload.TYPE, key=key, payload=payload, created_at=None)

"""How far every plugin has come: marks, lanes, what is in flight, dead letters.

A mark (plugin, source) is the position up to which all is finished. A lane row (plugin,
job) exists only where its cursor is above the mark or it is in trouble. One group of
acknowledgements, and of what goes out next, is one transaction. Nothing here judges a
subscription or a failure.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, text

from tunewatch.store import schema, waiting
from tunewatch.store.concluding import conclude, moved_on, revisions_of
from tunewatch.store.heads import Heads, heads_of_each
from tunewatch.store.lane_records import Attempt, Group, LaneRow, Settled
from tunewatch.store.leases import check, proof
from tunewatch.store.records import EventRef, Fence
from tunewatch.store.redelivery import end_stretches
from tunewatch.store.statements import Batch, Proof, Row

_MARK = ("position", "in_flight", "last_used_at")
_MARK_KEY = ("plugin", "source_id")
_LANE_KEY = ("plugin", "source_id", "job_key")
_KEEP_LANE = f"ON CONFLICT ({', '.join(_LANE_KEY)}) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in LaneRow._fields[1:]
)
_DELETE_LANE = text(
    "DELETE FROM lane WHERE plugin = :plugin AND source_id = :source"
    " AND job_key = :job_key"
)
_SWEEP = text(
    "DELETE FROM lane WHERE plugin = :plugin AND source_id = :source"
    " AND job_key >= 0 AND cursor <= :mark AND tries = 0 AND crashes = 0"
)
_BURY = text(
    "INSERT INTO dead_letter (plugin, source_id, job_key, first_position,"
    " last_position, first_sequence, last_sequence, event_id, tries, reason, at)"
    " SELECT CAST(:plugin AS TEXT), f.source_id, f.job_key, f.position, l.position,"
    " f.sequence, l.sequence, f.id, CAST(:tries AS INTEGER), CAST(:reason AS TEXT),"
    " CAST(:at AS DOUBLE PRECISION) FROM event f, event l"
    " WHERE f.position = :first AND l.position = :last"
)
_BURY_ONCE = text(
    f"{_BURY.text} AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE"  # noqa: S608 - a constant
    " d.plugin = :plugin AND d.closed_at IS NULL AND d.first_position = :first"
    " AND d.last_position = :last AND d.at = :at)"
)
_ATTEMPT = ("plugin", "source_id", *Attempt._fields)
_FORGET_ATTEMPT = text(
    "DELETE FROM attempt WHERE job_key = :job_key AND position = :position"
    " AND plugin = :plugin AND number = :number AND at = :at"
)
_SAVE_PLUGIN = text(
    "INSERT INTO plugin (name, state, reason, since, settings_digest) VALUES"
    " (:name, :state, :reason, :since, :settings_digest) ON CONFLICT (name) DO UPDATE"
    " SET state = excluded.state, reason = excluded.reason, since = excluded.since,"
    " settings_digest = excluded.settings_digest"
)


def settle_group(connection: Connection, fence: Fence, group: Group) -> Settled:
    """Write a group and return what goes out next.

    Raises LeaseLost, then nothing was written. May be run again.
    """
    batch = Batch(connection)
    ours: Proof | None = None
    if connection.dialect.name == "sqlite" or group.conclusions or group.again:
        check(connection, fence)
    else:
        # Nothing is locked or written before the batch: it may prove the lease itself.
        ours = proof(fence)
    refused = moved_on(connection, group.conclusions)
    heads = _heads(connection, fence.source_id, group)
    asked = {found.positions[0] for found in heads.values() if found.positions}
    _keep_lanes(batch, fence.source_id, group, refused)
    _move_marks(batch, fence.source_id, group, heads)
    _log_attempts(connection, batch, fence.source_id, group)
    wanted = asked.union(group.bodies)
    refs = waiting.write_and_read(connection, batch, wanted, proof=ours)
    _drop_lanes(connection, fence.source_id, group)
    _write_ends(connection, group)
    events = {ref.position: ref for ref in refs}
    return Settled(
        events=events,
        heads=heads,
        refused=refused,
        # Last: the counter of positions is the last row to be locked.
        derived=conclude(connection, fence, group, refused),
        revisions=revisions_of(connection, _reacting(group, heads, events)),
    )


def _heads(
    connection: Connection, source_id: int, group: Group
) -> dict[tuple[str, int], Heads]:
    asks = [(turn.plugin, ask) for turn in group.turns for ask in turn.asks]
    found = heads_of_each(connection, source_id, [ask.reach for _, ask in asks])
    keys = ((plugin, ask.lane) for plugin, ask in asks)
    return dict(zip(keys, found, strict=True))


def _reacting(
    group: Group,
    heads: dict[tuple[str, int], Heads],
    events: dict[int, EventRef],
) -> Iterator[int]:
    """Yield the jobs that reactors are called for next."""
    yield from group.revisions
    for turn in group.turns:
        for ask in turn.asks if turn.reacts else ():
            for position in heads[turn.plugin, ask.lane].positions[:1]:
                yield events[position].job_key


def _keep_lanes(
    batch: Batch, source_id: int, group: Group, refused: frozenset[int]
) -> None:
    rows = {
        (turn.plugin, row.job_key): row for turn in group.turns for row in turn.rows
    }
    for index, conclusion in enumerate(group.conclusions):
        if index not in refused:
            rows[conclusion.plugin, conclusion.row.job_key] = conclusion.row
    batch.insert(
        schema.lane,
        (*_LANE_KEY, *LaneRow._fields[1:]),
        [(plugin, source_id, *row) for (plugin, _), row in sorted(rows.items())],
        conflict=_KEEP_LANE,
    )


def _move_marks(
    batch: Batch,
    source_id: int,
    group: Group,
    heads: dict[tuple[str, int], Heads],
) -> None:
    rows: list[Row] = []
    for turn in group.turns:
        out = list(turn.in_flight)
        for ask in turn.asks:
            found = heads[turn.plugin, ask.lane].positions[:1]
            out.extend(found if ask.lane >= 0 else [ask.lane] * len(found))
        in_flight = msgspec.json.encode(sorted(out))
        rows.append((turn.mark, in_flight, group.at, turn.plugin, source_id))
    batch.update(schema.mark, _MARK, _MARK_KEY, rows)


def _log_attempts(
    connection: Connection, batch: Batch, source_id: int, group: Group
) -> None:
    rows: list[Row] = [
        (turn.plugin, source_id, *attempt)
        for turn in group.turns
        for attempt in turn.attempts
    ]
    if rows and group.again:  # they may be there already, and have no natural id
        values = [dict(zip(_ATTEMPT, row, strict=True)) for row in rows]
        connection.execute(_FORGET_ATTEMPT, values)
    batch.insert(schema.attempt, _ATTEMPT, rows)


def _drop_lanes(connection: Connection, source_id: int, group: Group) -> None:
    gone = [
        {"plugin": turn.plugin, "source": source_id, "job_key": key}
        for turn in group.turns
        for key in turn.gone
    ]
    if gone:
        connection.execute(_DELETE_LANE, gone)
    swept = [
        {"plugin": turn.plugin, "source": source_id, "mark": turn.mark}
        for turn in group.turns
        if turn.sweep
    ]
    if swept:
        connection.execute(_SWEEP, swept)


def _write_ends(connection: Connection, group: Group) -> None:
    burials = [
        {
            "plugin": turn.plugin,
            "first": burial.first,
            "last": burial.last,
            "tries": burial.tries,
            "reason": burial.reason,
            "at": group.at,
        }
        for turn in group.turns
        for burial in turn.burials
    ]
    if burials:
        connection.execute(_BURY_ONCE if group.again else _BURY, burials)
    if group.plugins:
        connection.execute(_SAVE_PLUGIN, [row._asdict() for row in group.plugins])
    end_stretches(connection, group.ended, at=group.at)

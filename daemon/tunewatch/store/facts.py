"""What a job has said so far: known entries, points and checkpoints.

Reads and writes for many jobs at once. Knows nothing of events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, select

from tunewatch.diff import Delta, Known, Observation
from tunewatch.model import Checkpoint
from tunewatch.store.before import Kept
from tunewatch.store.schema import checkpoint, entry, point
from tunewatch.store.statements import Batch, Row, padded

_checkpoints = msgspec.json.Decoder(Checkpoint)
_metrics = msgspec.json.Decoder(dict[str, float])
_encode = msgspec.json.encode

_ENTRY = ("job_key", "id")
_POINT = ("job_key", "n", "step", "total_steps", "created_at", "metrics")
_CHECKPOINT = ("job_key", "id", "body", "removed")
_REPLACE = (
    "ON CONFLICT (job_key, id) "
    "DO UPDATE SET body = excluded.body, removed = excluded.removed"
)

_listed = select(checkpoint.c.job_key, checkpoint.c.body).where(
    checkpoint.c.job_key.in_(bindparam("keys", expanding=True)),
    ~checkpoint.c.removed,
)
_filled = select(point.c.job_key, point.c.step, point.c.metrics).where(
    point.c.job_key.in_(bindparam("keys", expanding=True))
)


def known_facts(
    connection: Connection, looks: Sequence[tuple[Kept, Observation]]
) -> dict[int, Known]:
    """Return what is known that bears on each observation, by job key."""
    listed = _checkpoints_of(
        connection, [kept.key for kept, seen in looks if seen.checkpoints is not None]
    )
    filled = _filled_steps(
        connection, [kept.key for kept, seen in looks if seen.file_id is not None]
    )
    return {
        kept.key: Known(
            entries=kept.known,
            filled=filled.get(kept.key, {}),
            checkpoints=listed.get(kept.key, {}),
        )
        for kept, _ in looks
    }


def _checkpoints_of(
    connection: Connection, keys: list[int]
) -> dict[int, dict[str, Checkpoint]]:
    found: defaultdict[int, dict[str, Checkpoint]] = defaultdict(dict)
    if keys:
        for key, body in connection.execute(_listed, {"keys": padded(keys)}):
            one = _checkpoints.decode(body)
            found[key][one.id] = one
    return found


def _filled_steps(
    connection: Connection, keys: list[int]
) -> dict[int, dict[int, frozenset[str]]]:
    found: defaultdict[int, dict[int, frozenset[str]]] = defaultdict(dict)
    if keys:
        for key, step, metrics in connection.execute(_filled, {"keys": padded(keys)}):
            names = frozenset(_metrics.decode(metrics))
            found[key][step] = found[key].get(step, frozenset()) | names
    return found


def write_facts(batch: Batch, deltas: Iterable[tuple[int, Delta]]) -> None:
    """Write the entries, points and checkpoints of deltas, by job key."""
    entries: list[Row] = []
    points: list[Row] = []
    listed: list[Row] = []
    gone: list[Row] = []
    for key, delta in deltas:
        entries += [(key, known) for known in delta.entries]
        points += [
            (key, p.n, p.step, p.total_steps, p.created_at, _encode(p.values))
            for p in delta.points
        ]
        unique = {one.id: one for one in delta.checkpoints}
        listed += [(key, one.id, _encode(one), False) for one in unique.values()]
        gone += [(True, key, removed) for removed in delta.removed_checkpoints]
    batch.insert(entry, _ENTRY, entries, conflict="ON CONFLICT DO NOTHING")
    batch.insert(point, _POINT, points)
    batch.insert(checkpoint, _CHECKPOINT, listed, conflict=_REPLACE)
    batch.update(checkpoint, ("removed",), ("job_key", "id"), gone)

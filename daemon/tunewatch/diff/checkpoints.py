"""The listed checkpoints of a job against the known ones.

A list counts only if it is complete; a checkpoint is removed only when it was absent
for a while, because a lagging list forgets.
"""

from __future__ import annotations

from msgspec import Struct

from tunewatch.diff.state import Known, Observation
from tunewatch.events import CheckpointCreated, CheckpointRemoved, Happening
from tunewatch.model import Checkpoint, checkpoint_object


class Listed(Struct, frozen=True, kw_only=True):
    """What a list of checkpoints changes."""

    happenings: tuple[Happening, ...] = ()
    stored: tuple[Checkpoint, ...] = ()  #: new, or changed without a word
    removed: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()


def compare(
    known: Known, seen: Observation, job_id: str, counts: dict[str, int]
) -> Listed:
    """Return what changed; `counts` learns how often a checkpoint was removed."""
    if seen.checkpoints is None:
        return Listed()
    listed = {checkpoint.id: checkpoint for checkpoint in seen.checkpoints}
    absent = frozenset(known.checkpoints) - listed.keys()
    removed = sorted(
        checkpoint_id
        for checkpoint_id in absent
        if seen.absent_for.get(checkpoint_id, -1.0) >= seen.absent_after
    )
    new = [c for c in listed.values() if c.id not in known.checkpoints]
    new.sort(key=lambda c: (c.created_at or 0, c.step or 0, c.id))
    changed = [
        c
        for c in listed.values()
        if c.id in known.checkpoints and c != known.checkpoints[c.id]
    ]
    happenings = [_created(c, job_id, counts) for c in new]
    happenings += [
        _removed(known.checkpoints[checkpoint_id], job_id, counts)
        for checkpoint_id in removed
    ]
    return Listed(
        happenings=tuple(happenings),
        stored=(*new, *changed),
        removed=tuple(removed),
        absent=absent - frozenset(removed),
    )


def _created(checkpoint: Checkpoint, job_id: str, counts: dict[str, int]) -> Happening:
    payload = CheckpointCreated(checkpoint=checkpoint_object(checkpoint, job_id))
    return Happening(
        type=CheckpointCreated.TYPE,
        key=_key(checkpoint, counts),
        payload=payload,
        created_at=checkpoint.created_at,
    )


def _removed(checkpoint: Checkpoint, job_id: str, counts: dict[str, int]) -> Happening:
    payload = CheckpointRemoved(checkpoint=checkpoint_object(checkpoint, job_id))
    key = _key(checkpoint, counts)
    name = _times(checkpoint)
    counts[name] = counts.get(name, 0) + 1
    return Happening(
        type=CheckpointRemoved.TYPE, key=key, payload=payload, created_at=None
    )


def _key(checkpoint: Checkpoint, counts: dict[str, int]) -> tuple[str | int, ...]:
    """Name it by its id; one that came back is another event than its first coming."""
    times = counts.get(_times(checkpoint), 0)
    return (checkpoint.id, times) if times else (checkpoint.id,)


def _times(checkpoint: Checkpoint) -> str:
    return f"removed:{checkpoint.id}"

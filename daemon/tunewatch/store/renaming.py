"""New names for sources: all that is kept of one goes on under another name.

Ids of events do not depend on names, and bodies that are stored keep the old one. What
a source was called is remembered, so that a setting left in the file renames but once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, select, update

from tunewatch.store.outages import SourceState
from tunewatch.store.records import StoreUnusable
from tunewatch.store.schema import lease, source

_states = msgspec.json.Decoder(SourceState)


class Renamed(NamedTuple):
    """What became of the wishes."""

    moved: dict[str, str]  #: old by new name, of those that were renamed now
    missing: dict[str, str]  #: the same, of those of which nothing is known at all


class _Named(NamedTuple):
    id: int
    state: SourceState


def rename_within(connection: Connection, *, former: Mapping[str, str]) -> Renamed:
    """See `sources.Sources.rename`. Raises StoreUnusable."""
    wanted = {name: found.id for name, found in _known(connection, former).items()}
    _lock(connection, [wanted[old] for old in former.values() if old in wanted])
    known = _known(connection, former, lock=True)
    due = {
        new: old
        for new, old in former.items()
        if old in known and not _was_called(known.get(new), old)
    }
    missing = {
        new: old for new, old in former.items() if old not in known and new not in known
    }
    _take_leases(connection, [known[old].id for old in due.values()])
    taken = set(known)
    left = dict(due)
    while left:
        # A name that is given up by another is free only then.
        new = next((name for name in left if name not in taken), None)
        if new is None:
            raise _clash(left)
        old = left.pop(new)
        _name(connection, known[old], old, new)
        taken.remove(old)
        taken.add(new)
    return Renamed(due, missing)


def _known(
    connection: Connection, former: Mapping[str, str], *, lock: bool = False
) -> dict[str, _Named]:
    names = sorted({*former, *former.values()})
    statement = select(source.c.name, source.c.id, source.c.state).where(
        source.c.name.in_(names)
    )
    if lock:
        statement = statement.order_by(source.c.id).with_for_update()
    rows = connection.execute(statement)
    return {row.name: _Named(row.id, _states.decode(row.state)) for row in rows}


def _was_called(found: _Named | None, old: str) -> bool:
    return found is not None and old in found.state.former


def _lock(connection: Connection, ids: list[int]) -> None:
    """Wait until whoever writes for these sources has ended, and keep others waiting.

    First of all: a lease is locked before what it guards, everywhere.
    """
    ordered = (
        select(lease.c.token)
        .where(lease.c.source_id.in_(ids))
        .order_by(lease.c.source_id)
    )
    connection.execute(ordered.with_for_update())


def _take_leases(connection: Connection, ids: list[int]) -> None:
    """Let whoever has these leases lose them: nobody goes on under the old name."""
    gone = {"owner": "", "token": lease.c.token + 1, "expires_at": 0.0}
    connection.execute(update(lease).where(lease.c.source_id.in_(ids)).values(gone))


def _name(connection: Connection, found: _Named, old: str, new: str) -> None:
    state = replace(found.state, former=(*found.state.former, old))
    values = {"name": new, "state": msgspec.json.encode(state)}
    connection.execute(update(source).where(source.c.id == found.id).values(values))


def _clash(left: Mapping[str, str]) -> StoreUnusable:
    new, old = next(iter(left.items()))
    return StoreUnusable(
        f"sources.{new} is renamed_from {old!r}, but a source {new!r} already has a "
        f"state of its own: remove renamed_from (the jobs of {old!r} pass to the next "
        "source that sees them), or choose another name"
    )

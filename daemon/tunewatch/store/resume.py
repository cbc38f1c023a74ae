"""What a dispatcher finds when it takes up a source: marks, lanes, unclean ends.

One fenced transaction. Afterwards nothing counts as in flight until it is sent again,
so that one end of the process is counted once. Knows no subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Text, bindparam, text

from tunewatch.store import waiting
from tunewatch.store.lane_records import LaneRow, MarkRow, PluginRow
from tunewatch.store.leases import fence as check_fence
from tunewatch.store.records import EventRef, Fence

_positions = msgspec.json.Decoder(list[int])


class Configured(NamedTuple):
    """A plugin as the configuration has it now."""

    name: str
    settings_digest: str


class Found(Struct, frozen=True, kw_only=True):
    """How far one plugin is at the source."""

    mark: MarkRow  #: with what was in flight when the last process ended
    lanes: tuple[LaneRow, ...]
    plugin: PluginRow


class Resumed(Struct, frozen=True, kw_only=True):
    """What was found of a source."""

    plugins: dict[str, Found]
    suspects: dict[int, EventRef]  #: events that were in flight, by position


_MARKS = text(
    "SELECT plugin, position, in_flight, last_used_at FROM mark"
    " WHERE source_id = :source"
)
_NEW_MARK = text(
    "INSERT INTO mark (plugin, source_id, position, in_flight, last_used_at, start)"
    " VALUES (:plugin, :source, :position, :in_flight, :at, :position)"
)
_TOUCH = text(
    "UPDATE mark SET last_used_at = :at, in_flight = :in_flight"
    " WHERE plugin = :plugin AND source_id = :source"
)
_USE = text(
    "UPDATE mark SET last_used_at = :at WHERE plugin = :plugin AND source_id = :source"
)
_SHIFT = text(
    "UPDATE mark SET last_used_at = last_used_at + :seconds"
    " WHERE plugin = :plugin AND source_id = :source"
)
_LANES = text(
    "SELECT job_key, cursor, tries, first_failure_at, wait, wait_until, crashes,"
    " last_error FROM lane WHERE plugin = :plugin AND source_id = :source"
)
_CRASH = text(
    "INSERT INTO lane (plugin, source_id, job_key, cursor, tries, crashes)"
    " VALUES (:plugin, :source, :job_key, :cursor, 0, 1)"
    " ON CONFLICT (plugin, source_id, job_key) DO UPDATE"
    " SET crashes = lane.crashes + 1"
)
_PLUGINS = text(
    "SELECT name, state, reason, since, settings_digest FROM plugin"
    " WHERE name IN :names"
).bindparams(bindparam("names", expanding=True, type_=Text))
_SAVE_PLUGIN = text(
    "INSERT INTO plugin (name, state, reason, since, settings_digest) VALUES"
    " (:name, :state, :reason, :since, :settings_digest) ON CONFLICT (name) DO UPDATE"
    " SET state = excluded.state, reason = excluded.reason, since = excluded.since,"
    " settings_digest = excluded.settings_digest"
)
_DROP_MARK = text("DELETE FROM mark WHERE plugin = :plugin AND source_id = :source")
_DROP_LANES = text("DELETE FROM lane WHERE plugin = :plugin AND source_id = :source")


def take_up(
    connection: Connection,
    fence: Fence,
    plugins: Sequence[Configured],
    *,
    at: float,
    running: Sequence[str] = (),
) -> Resumed:
    """Return how far the plugins are; one that was never here starts at the newest.

    `running` are those that are at work already: nothing of theirs is touched. Raises
    LeaseLost.
    """
    check_fence(connection, fence)
    source = fence.source_id
    rows = connection.execute(_MARKS, {"source": source}).all()
    marks = {
        row.plugin: MarkRow(row.plugin, row.position, _positions.decode(row.in_flight))
        for row in rows
    }
    configured = {plugin.name for plugin in plugins}
    if not running:  # else somebody was here all the time
        used = {row.plugin: row.last_used_at for row in rows}
        _keep_absent(connection, source, used, configured, at)
    out = [
        (name, item)
        for name, mark in marks.items()
        if name in configured
        for item in mark.in_flight
    ]
    refs = waiting.bodies(connection, (item for _, item in out if item >= 0))
    suspects = {ref.position: ref for ref in refs}
    if len(out) == 1:
        _count_crash(connection, source, *out[0], suspects)
    here = waiting.newest(connection, source)
    return Resumed(
        plugins={
            plugin.name: Found(
                mark=_begun(
                    connection,
                    source,
                    plugin.name,
                    marks.get(plugin.name),
                    here=here,
                    at=at,
                ),
                lanes=_lanes(connection, source, plugin.name),
                plugin=_plugin(connection, plugin, at),
            )
            for plugin in plugins
        },
        suspects=suspects,
    )


def forget_absent(
    connection: Connection,
    fence: Fence,
    configured: Sequence[str],
    *,
    at: float,
    unused_since: float,
) -> list[str]:
    """Drop what is kept of plugins that left the configuration before that time.

    Marks of the others count as used now. Returns the names. Raises LeaseLost.
    """
    check_fence(connection, fence)
    source = fence.source_id
    if configured:
        connection.execute(
            _USE,
            [{"plugin": name, "source": source, "at": at} for name in configured],
        )
    gone = [
        row.plugin
        for row in connection.execute(_MARKS, {"source": source})
        if row.plugin not in configured and row.last_used_at < unused_since
    ]
    for name in gone:
        connection.execute(_DROP_LANES, {"plugin": name, "source": source})
        connection.execute(_DROP_MARK, {"plugin": name, "source": source})
    return gone


def plugin_rows(connection: Connection, names: Sequence[str]) -> list[PluginRow]:
    """Return the kept state of plugins: another replica may have changed it."""
    found = connection.execute(_PLUGINS, {"names": list(names)})
    return [PluginRow(*row) for row in found]


def _keep_absent(
    connection: Connection,
    source_id: int,
    used: dict[str, float],
    configured: set[str],
    at: float,
) -> None:
    """Leave the time in which nothing ran out of the age of absent plugins' marks."""
    away = at - max(used.values(), default=at)
    absent = [name for name in used if name not in configured]
    if away > 0 and absent:
        connection.execute(
            _SHIFT,
            [
                {"plugin": name, "source": source_id, "seconds": away}
                for name in sorted(absent)
            ],
        )


def _count_crash(
    connection: Connection,
    source_id: int,
    name: str,
    item: int,
    suspects: dict[int, EventRef],
) -> None:
    """Count an unclean end against the only delivery that was out."""
    if item >= 0 and item not in suspects:
        return  # its event is gone
    values = {"plugin": name, "source": source_id, "job_key": item, "cursor": 0}
    if item >= 0:
        # Without a row of its own the lane was finished up to this event.
        values |= {"job_key": suspects[item].job_key, "cursor": item - 1}
    connection.execute(_CRASH, values)


def _begun(
    connection: Connection,
    source_id: int,
    name: str,
    mark: MarkRow | None,
    *,
    here: int,
    at: float,
) -> MarkRow:
    values = {"plugin": name, "source": source_id, "in_flight": b"[]", "at": at}
    if mark is not None:
        connection.execute(_TOUCH, values)
        return mark
    connection.execute(_NEW_MARK, {**values, "position": here})
    return MarkRow(name, here, [])


def _lanes(connection: Connection, source_id: int, name: str) -> tuple[LaneRow, ...]:
    rows = connection.execute(_LANES, {"plugin": name, "source": source_id})
    return tuple(LaneRow(*row) for row in rows)


def _plugin(connection: Connection, plugin: Configured, at: float) -> PluginRow:
    """Return its state; other settings than those it was paused with let it go on."""
    for kept in plugin_rows(connection, [plugin.name]):
        if kept.settings_digest == plugin.settings_digest:
            return kept
    fresh = PluginRow(plugin.name, "up", None, at, plugin.settings_digest)
    connection.execute(_SAVE_PLUGIN, fresh._asdict())
    return fresh

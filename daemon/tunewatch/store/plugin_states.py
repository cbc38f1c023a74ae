"""How plugins are in the processes that run now: told when it changes, read by others.

What outlives a process (paused, and why) is in the table of plugins; whether one is up
or probing is true of one process and kept only so that others can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, select

from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.lease_rows import database_clock
from tunewatch.store.schema import lease, plugin, plugin_state
from tunewatch.store.statements import Batch, Row

KEPT = 86_400.0
"""s that the states of a process are kept which says nothing more."""
_WORST_FIRST = ("paused", "probing", "up")
_COLUMNS = (
    "replica",
    "plugin",
    "state",
    "reason",
    "since",
    "retry_at",
    "told_at",
)
_ANEW = "ON CONFLICT (replica, plugin) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in _COLUMNS[2:]
)


class PluginState(NamedTuple):
    """How a plugin is."""

    name: str
    state: str  #: up, probing, paused
    reason: str | None
    since: float  #: unix seconds
    retry_at: float | None = None  #: unix seconds of the next probe


class PluginStates:
    """What one process tells of its plugins. Every method may raise StoreFault."""

    def __init__(self, carrier: Carrier, *, replica: str, clock: Clock) -> None:
        self._carrier = carrier
        self._replica = replica
        self._clock = clock

    async def tell(self, states: Sequence[PluginState]) -> None:
        """Let others know how the plugins are here."""
        at = self._clock.now()
        rows: list[Row] = [(self._replica, *one, at) for one in states]
        told = partial(_tell, rows=rows, dead=self._dead(at))
        await self._carrier.write(told)

    async def forget(self) -> None:
        """Let others know that this process ends."""
        mine = plugin_state.c.replica == self._replica
        await self._carrier.write(lambda c: c.execute(delete(plugin_state).where(mine)))

    def _dead(self, at: float) -> ColumnElement[bool]:
        """Return which rows nobody renews any more."""
        other = plugin_state.c.replica != self._replica
        if self._carrier.dialect == "sqlite":
            return other  # nobody else can have the file
        return and_(other, plugin_state.c.told_at < at - KEPT)


def _tell(connection: Connection, rows: list[Row], dead: ColumnElement[bool]) -> None:
    connection.execute(delete(plugin_state).where(dead))
    batch = Batch(connection)
    batch.insert(plugin_state, _COLUMNS, rows, conflict=_ANEW)
    batch.write()


def current(connection: Connection) -> list[PluginState]:
    """Return how plugins are, by name: paused for all, else as in the worst process."""
    states = [*_kept(connection), *_living(connection)]
    by_name: dict[str, PluginState] = {}
    for one in sorted(states, key=lambda each: _WORST_FIRST.index(each.state)):
        by_name.setdefault(one.name, one)
    return [by_name[name] for name in sorted(by_name)]


def _living(connection: Connection) -> Iterable[PluginState]:
    columns = plugin_state.c
    statement = select(
        columns.plugin, columns.state, columns.reason, columns.since, columns.retry_at
    )
    if connection.dialect.name != "sqlite":
        holds = select(lease.c.owner).where(
            lease.c.owner == columns.replica,
            lease.c.expires_at > database_clock(connection),
        )
        statement = statement.where(holds.exists())
    rows = connection.execute(statement.order_by(columns.since.desc()))
    return [PluginState(*row) for row in rows]


def _kept(connection: Connection) -> Iterable[PluginState]:
    columns = plugin.c
    rows = connection.execute(
        select(columns.name, columns.state, columns.reason, columns.since)
    )
    return [PluginState(*row) for row in rows]

"""The store as who answers: all of `Reading`.

What lives in a process and not in the store, such as how a plugin is right now, is
asked of the process, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from tunewatch.api.answers import (
    PartState,
    PluginAnswer,
    PluginList,
    SchemaList,
    SourceAnswer,
    SourceList,
)
from tunewatch.api.schemas import schemas
from tunewatch.api.stored_deliveries import StoredDeliveries
from tunewatch.store.ledger import Backlog
from tunewatch.store.plugin_states import PluginState
from tunewatch.store.reads import Reader
from tunewatch.store.redelivering import Redeliver
from tunewatch.store.whereabouts import Outage

if TYPE_CHECKING:
    # Who only shows jobs should not pay for importing it.
    from tunewatch.host import Instance


class Live(Protocol):
    """How the parts of a running process are, by name; those of others are left out."""

    def sources(self) -> Mapping[str, PartState]:
        """Return how each source is."""
        ...

    def plugins(self) -> Mapping[str, PartState]:
        """Return how each plugin is."""
        ...


class Stored(StoredDeliveries):
    """Answers from a store; `Reading`."""

    def __init__(
        self,
        reads: Reader,
        redeliver: Redeliver,
        *,
        instances: Sequence[Instance] = (),
        live: Live | None = None,
    ) -> None:
        super().__init__(reads, redeliver)
        self._instances = instances
        self._live = live

    async def sources(self) -> SourceList:
        """See `Reading.sources`."""
        told = await self.reads.outages()
        answers = []
        live = {} if self._live is None else self._live.sources()
        for row in await self.reads.sources():
            state = live.get(row.name) or _as_told(told.get(row.id))
            answers.append(
                SourceAnswer(
                    name=row.name,
                    kind=row.kind,
                    realm=row.realm,
                    state=state.state,
                    reason=state.reason,
                    since=state.since,
                    first_contact_at=row.first_contact_at,
                    title=state.title,
                )
            )
        return SourceList(data=tuple(answers), has_more=False)

    async def schemas(self) -> SchemaList:
        """See `Reading.schemas`."""
        return schemas()

    async def plugins(self) -> PluginList:
        """See `Reading.plugins`."""
        from tunewatch import host

        kept = {one.name: one for one in await self.reads.plugins()}
        is_wanted = host.wanted_by(self._instances)
        backlog = await self.reads.backlog(is_wanted=is_wanted)
        live = {} if self._live is None else self._live.plugins()
        answers = []
        for one in self._instances:
            state = _worse(live.get(one.name), _as_kept(kept.get(one.name)))
            waiting = [part for part in backlog if part.plugin == one.name]
            answers.append(_plugin(one, state, waiting))
        return _plugins(answers)


def new_plugins(instances: Sequence[Instance]) -> PluginList:
    """Return the configured plugins where there is no store yet."""
    return _plugins([_plugin(one, _as_kept(None), ()) for one in instances])


def _plugins(answers: Sequence[PluginAnswer]) -> PluginList:
    from tunewatch import host

    installed = tuple(host.kinds())
    return PluginList(data=tuple(answers), has_more=False, installed=installed)


def _plugin(
    one: Instance, state: PartState, waiting: Sequence[Backlog]
) -> PluginAnswer:
    return PluginAnswer(
        name=one.name,
        kind=one.kind,
        events=one.events,
        state=state.state,
        reason=state.reason,
        since=state.since,
        retry_at=state.retry_at,
        pending=sum(part.pending for part in waiting),
        dead_letters=sum(part.dead_letters for part in waiting),
    )


def _worse(live: PartState | None, kept: PartState) -> PartState:
    """Return how a plugin is here, unless only another replica has trouble with it."""
    if live is None or (live.state == "up" and kept.state != "new"):
        return kept
    return live


def _as_kept(row: PluginState | None) -> PartState:
    """Return how a plugin was when its state was kept."""
    if row is None:
        return PartState(state="new")
    return PartState(
        state=row.state, reason=row.reason, since=row.since, retry_at=row.retry_at
    )


def _as_told(outage: Outage | None) -> PartState:
    """Return how a source was when its last event was told."""
    if outage is None or not outage.down:
        return PartState(state="up")
    return PartState(state="down", reason=outage.reason, since=_unix(outage.since))


def _unix(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()

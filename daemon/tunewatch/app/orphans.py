"""A source that left the configuration: what waits for plugins is still delivered.

Nobody polls it. Once nothing waits any more, its jobs pass to the sources that see
them, one by one as they are seen: another key of the same API may open another project.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from tunewatch.app.leasing import Held
from tunewatch.app.parts import Parts
from tunewatch.app.terms import SourceLife, first_of
from tunewatch.dispatch import Dispatcher
from tunewatch.store.records import Fence, LeaseLost, SourceRow, StoreUnavailable
from tunewatch.web import PartState

PASS_ON_EVERY = 2.0
"""s between looks at whether jobs can be passed on."""
PATIENCE = 60.0
"""s that the lease is kept from a replica that may see the jobs."""
STEP_BACK = 10.0
"""s for such a replica to take the lease."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class OrphanLife:
    """A source without a configuration, in this process: dispatch only."""

    row: SourceRow
    lives: Sequence[SourceLife]  #: the configured ones
    parts: Parts
    dispatcher: Dispatcher | None = None
    died: str | None = None  #: why the last term ended, if by a fault
    fence: Fence | None = None  #: while a term lasts
    is_over: bool = False  #: nothing of it is left

    @property
    def name(self) -> str:
        """The source's name."""
        return self.row.name

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do but wait."""
        if self.is_over or self.died is not None:
            return True
        return self.dispatcher is not None and self.dispatcher.idle.is_set()

    def state(self) -> PartState:
        """Return how it is, for /readyz."""
        if self.died is not None:
            return PartState(state="down", reason=f"its loop died: {self.died}")
        reason = "not configured any more; what waits for plugins is still delivered"
        return PartState(state="orphaned", reason=reason)

    async def run(self, stop: asyncio.Event) -> None:
        """Live one term: wait for the lease, deliver, pass jobs on, give it back."""
        if self.is_over:
            await stop.wait()
            return
        held = await self.parts.leasing.get(self.row.id, lambda: True)
        self.fence = held.fence
        _log.info("orphan.delivering", source=self.name, token=held.fence.token)
        try:
            await self._term(held, stop)
        finally:
            self.dispatcher = self.fence = None
            await self.parts.leasing.give_back(held)
        if not stop.is_set() and not self.is_over:
            await self.parts.clock.sleep(STEP_BACK)

    async def _term(self, held: Held, stop: asyncio.Event) -> None:
        dispatcher = self.parts.dispatcher(self.name, held.fence)
        self.dispatcher = dispatcher
        enough = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                delivering = tasks.create_task(
                    dispatcher.run(enough, grace=self.parts.grace),
                    name=f"dispatch:{self.name}",
                )
                passing = tasks.create_task(
                    self._pass_on(dispatcher, held.fence), name=f"pass_on:{self.name}"
                )
                await first_of(stop, held.lost, delivering, passing)
                passing.cancel()
                enough.set()
        except* LeaseLost as lost:
            _log.warning("lease.lost", source=self.name, reason=str(lost))

    async def _pass_on(self, dispatcher: Dispatcher, fence: Fence) -> None:
        """Pass jobs on as they are seen; return when another replica should try."""
        until = self.parts.clock.monotonic() + PATIENCE
        while True:
            await self.parts.clock.sleep(PASS_ON_EVERY)
            if not dispatcher.is_drained:
                continue
            try:
                await self._pass_on_what_is_seen(fence)
                self.is_over = not await self._is_left()
            except StoreUnavailable:
                continue  # said where it hurts; nothing is lost by waiting
            if self.is_over:
                _log.info("orphan.over", source=self.name)
                return
            if self._others_may_see() and self.parts.clock.monotonic() > until:
                return

    async def _pass_on_what_is_seen(self, fence: Fence) -> None:
        """Hand the jobs that a source here has on its list to that source."""
        for life in self.lives:
            poller = life.poller
            if poller is None or life.row.realm != self.row.realm:
                continue
            if not (seen := poller.foreign):
                continue
            moved = await self.parts.store.sources.pass_on(fence, life.row.id, seen)
            if moved:
                number = len(moved)
                _log.info("orphan.passed_on", source=self.name, to=life.name, n=number)
                await poller.adopt(moved)

    async def _is_left(self) -> bool:
        """Whether anything of the source is still kept."""
        configured = [life.name for life in self.lives]
        orphans = await self.parts.store.sources.orphans(configured)
        return any(row.id == self.row.id for row in orphans)

    def _others_may_see(self) -> bool:
        """Whether a source of the same realm lives on another replica."""
        return any(
            life.row.realm == self.row.realm and life.fence is None
            for life in self.lives
        )


async def orphan_lives(lives: Sequence[SourceLife], parts: Parts) -> list[OrphanLife]:
    """Return the sources that have something left and no configuration."""
    configured = [life.name for life in lives]
    return [
        OrphanLife(row=row, lives=lives, parts=parts)
        for row in await parts.store.sources.orphans(configured)
    ]

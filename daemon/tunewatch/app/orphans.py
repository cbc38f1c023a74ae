"""A source that left the configuration: what waits for plugins is still delivered.

Nobody polls it. Once nothing waits any more, its jobs pass to the sources that see
them, one by one as they are seen: another key of the same API may open another project.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from tunewatch.app.leasing import Held
from tunewatch.app.parts import Parts
from tunewatch.app.terms import SourceLife, first_of
from tunewatch.dispatch import Dispatcher
from tunewatch.store.records import Fence, LeaseLost, SourceRow, StoreUnavailable
from tunewatch.unbidden import causes, unbroken, until_told
from tunewatch.web import PartState

PASS_ON_EVERY = 2.0
"""s between looks at whether jobs can be passed on."""
PATIENCE = 60.0
"""s that the lease is kept from a replica that may know the source still."""
STEP_BACK = 10.0
"""s for such a replica to take the lease."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class OrphanLife:
    """A source without a configuration, in this process: dispatch only."""

    row: SourceRow
    lives: Mapping[str, SourceLife]  #: the configured ones, as they are now
    parts: Parts
    dispatcher: Dispatcher | None = None
    fence: Fence | None = None  #: while a term lasts
    why: str = "not configured any more"
    is_over: bool = False  #: nothing of it is left
    _is_told: bool = False

    @property
    def name(self) -> str:
        """The source's name."""
        return self.row.name

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do but wait."""
        if self.is_over:
            return True
        return self.dispatcher is not None and self.dispatcher.idle.is_set()

    def state(self) -> PartState:
        """Return how it is, for /readyz."""
        reason = f"{self.why}; what waits for plugins is still delivered"
        return PartState(state="orphaned", reason=reason)

    async def run(self, stop: asyncio.Event) -> None:
        """Live one term: wait for the lease, deliver, pass jobs on, give it back."""
        if self.is_over:
            await stop.wait()
            return
        held = await self.parts.leasing.get(self.row.id, lambda: True)
        self.fence = held.fence
        if not self._is_told:
            self._is_told = True
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
                    until_told(
                        f"the loop dispatch:{self.name}",
                        dispatcher.run(enough, grace=self.parts.grace),
                        enough,
                    ),
                    name=f"dispatch:{self.name}",
                )
                passing = tasks.create_task(
                    unbroken(
                        f"the loop pass_on:{self.name}",
                        self._pass_on(dispatcher, held.fence),
                    ),
                    name=f"pass_on:{self.name}",
                )
                await first_of(stop, held.lost, delivering, passing)
                passing.cancel()
                enough.set()
        except* LeaseLost as lost:
            _log.warning("lease.lost", source=self.name, reason=str(next(causes(lost))))

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
            is_past = self.parts.clock.monotonic() > until
            if is_past and self.parts.store.leases.are_shared:
                return

    async def _pass_on_what_is_seen(self, fence: Fence) -> None:
        """Hand the jobs that a source here has on its list to that source."""
        for life in list(self.lives.values()):
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
        orphans = await self.parts.store.sources.orphans(list(self.lives))
        return any(row.id == self.row.id for row in orphans)

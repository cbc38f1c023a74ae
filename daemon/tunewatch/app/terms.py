"""One source for as long as its lease lasts: its poller and its dispatcher together.

Neither knows the other: what one commits the other hears from the journal. A term ends
when the process stops, when the lease is lost, or when one of the two dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from tunewatch import pace
from tunewatch.app.leasing import Held
from tunewatch.app.parts import Parts
from tunewatch.dispatch import Dispatcher
from tunewatch.poller.source_poller import SourcePoller, SourceSetting
from tunewatch.sources.contract import Source
from tunewatch.store.records import Fence, LeaseLost, SourceRow
from tunewatch.store.requests import Request
from tunewatch.unbidden import begin, causes, until_told

_log = structlog.get_logger(__name__)

STUCK_AFTER = 180.0
"""s without progress, beyond the longest interval, after which a source is stuck."""


@dataclass(slots=True, kw_only=True)
class SourceLife:
    """A source in this process, from one lease to the next."""

    source: Source
    row: SourceRow
    key: Callable[[], object]
    setting: SourceSetting
    parts: Parts
    poller: SourcePoller | None = None
    dispatcher: Dispatcher | None = None
    fence: Fence | None = None  #: while a term lasts

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def is_here(self) -> bool:
        """Whether it surely lives here at this moment, and nowhere else."""
        return self.fence is not None and self.parts.leasing.trusts(self.fence)

    def is_stuck(self) -> bool:
        """Whether its loops make no progress although nothing holds them up."""
        poller = self.poller
        if poller is None:
            return False
        rates = self.setting.rates
        longest = max(rates.idle_interval, rates.poll_interval, pace.LONGEST_BACK_OFF)
        return self.parts.clock.monotonic() - poller.beat > longest + STUCK_AFTER

    async def run(self, stop: asyncio.Event) -> None:
        """Live one term: wait for the lease, poll and deliver, give it back."""
        held = await self.parts.leasing.get(self.row.id, lambda: not self.is_stuck())
        self.fence = held.fence
        self.parts.measures.lease_held(self.source.name, held=True)
        _log.info(
            "lease.held",
            source=self.source.name,
            token=held.fence.token,
            owner=self.parts.store.leases.owner,
        )
        try:
            await self._term(held, stop)
        finally:
            self.poller = self.dispatcher = self.fence = None
            self.parts.measures.lease_held(self.source.name, held=False)
            await self.parts.leasing.give_back(held)

    async def _term(self, held: Held, stop: asyncio.Event) -> None:
        row = await self._current()
        dispatcher = self.parts.dispatcher(self.name, held.fence)
        self.dispatcher = dispatcher
        poller = SourcePoller(
            source=self.source,
            row=row,
            fence=held.fence,
            store=self.parts.store,
            setting=self.setting,
            clock=self.parts.clock,
            jitter=self.parts.jitter,
            key=self.key,
            observer=self.parts.measures,
            tide=self.parts.tide,
        )
        enough = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                name = self.source.name
                delivering = tasks.create_task(
                    until_told(
                        f"the loop dispatch:{name}",
                        dispatcher.run(enough, grace=self.parts.grace),
                        enough,
                    ),
                    name=f"dispatch:{name}",
                )
                work = self._poll(dispatcher, poller)
                polling = begin(tasks, f"poll:{name}", work)
                await first_of(stop, held.lost, delivering)
                if not self.parts.leasing.trusts(held.fence):
                    # At once, not when all is wound down: another tells of it now.
                    self.parts.measures.lease_held(name, held=False)
                    self.parts.measures.lease_lost(name, "ended")
                polling.cancel()
                enough.set()
        except* LeaseLost as lost:
            self.parts.measures.lease_lost(self.source.name, "fenced")
            _log.warning(
                "lease.lost", source=self.source.name, reason=str(next(causes(lost)))
            )

    async def _current(self) -> SourceRow:
        """Return the row as it is now, and hold on to no other source's."""
        rows = await self.parts.store.sources.all()
        return next(row for row in rows if row.id == self.row.id)

    async def _poll(self, dispatcher: Dispatcher, poller: SourcePoller) -> None:
        # Not before the marks are there: a new plugin's mark is the current position.
        await dispatcher.loaded.wait()
        self.poller = poller
        await poller.run()

    def look(self, request: Request) -> None:
        """Look at the job that a request names, or at the list."""
        if self.poller is not None:  # else all is looked at in a moment anyway
            body = msgspec.json.decode(request.body)
            self.poller.look_now(body.get("job") if isinstance(body, dict) else None)


async def first_of(
    *what: asyncio.Event | asyncio.Task[None],
) -> None:
    """Return when any of the events is set or any of the tasks is done."""
    async with asyncio.TaskGroup() as tasks:
        waits = [
            tasks.create_task(one.wait(), name="wait")
            for one in what
            if isinstance(one, asyncio.Event)
        ]
        done = [one for one in what if isinstance(one, asyncio.Task)]
        await asyncio.wait([*waits, *done], return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

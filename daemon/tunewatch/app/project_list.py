"""The list of an organisation's projects, asked for now and then by its admin key.

While it cannot be had the last one stays: the admin key harms no source. Said once when
that begins and once when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from tunewatch import pace
from tunewatch.clock import Clock, sleep_or
from tunewatch.poller.budget import Budget
from tunewatch.poller.walk import PAGE, Cursors
from tunewatch.sources.contract import (
    Project,
    Projects,
    Refused,
    SourceFault,
    Unavailable,
)

REQUESTS_PER_MINUTE = 20
"""Pages of projects a minute: a budget of its own, beside those of the sources."""
AGAIN = 15.0
"""s before a list that failed is asked for again, doubling to five minutes."""
SOON = 10.0
"""s between two lists, however urgently another one is wanted."""
LOOK_FOR_KEY = 1.0
"""s between looks at whether a refused admin key has been exchanged."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class ProjectList:
    """What is known of the projects of one organisation."""

    organization: str
    every: float  #: s
    key: Callable[[], str | None]
    clock: Clock
    jitter: pace.Jitter
    projects: dict[str, Project] | None = None  #: by id; None: never listed
    failures: int = 0  #: in a row
    reason: str | None = None  #: why it failed last
    since: float | None = None  #: unix seconds, of the first failure in a row
    is_refused: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)  #: once at least
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self) -> None:
        """Ask for the list soon: somebody brought a key of a project not on it."""
        self._wanted.set()

    async def keep(self, admin: Projects) -> NoReturn:
        """List the projects again and again."""
        budget = Budget(REQUESTS_PER_MINUTE, self.clock)
        while True:
            self._wanted.clear()
            key = self.key()
            try:
                found = await every_project(admin, budget)
            except SourceFault as fault:
                wait = self._failed(fault)
            else:
                wait = self._answered(found)
            self.tried.set()
            await self._rest(wait, key)

    def _failed(self, fault: SourceFault) -> float:
        self.failures += 1
        self.reason = fault.reason
        self.is_refused = isinstance(fault, Refused)
        if self.since is None:
            self.since = self.clock.now()
            _log.warning(
                "organization.trouble",
                organization=self.organization,
                reason=fault.reason,
            )
        if self.is_refused:
            return pace.REFUSED_AGAIN
        after = fault.after if isinstance(fault, Unavailable) else None
        return max(pace.back_off(AGAIN, self.failures, self.jitter), after or 0.0)

    def _answered(self, found: dict[str, Project]) -> float:
        if self.since is not None:
            after = round(self.clock.now() - self.since, 3)
            _log.info(
                "organization.answers_again",
                organization=self.organization,
                after=after,
            )
        self.projects = found
        self.failures, self.reason, self.since = 0, None, None
        self.is_refused = False
        return pace.jittered(self.every, self.jitter)

    async def _rest(self, wait: float, key: object) -> None:
        """Wait; after a failure a new key, and else an urgent wish, cuts it short."""
        until = self.clock.monotonic() + wait
        if not self.failures:
            at_least = min(wait, SOON)
            await self.clock.sleep(at_least)
            await sleep_or(self._wanted, wait - at_least, self.clock)
            return
        while (left := until - self.clock.monotonic()) > 0:
            await self.clock.sleep(min(left, LOOK_FOR_KEY))
            if self.is_refused and self.key() != key:
                return


async def every_project(admin: Projects, budget: Budget) -> dict[str, Project]:
    """Return every project there is. Raises the source's faults."""
    found: dict[str, Project] = {}
    cursors, cursor = Cursors(), None
    while True:
        await budget.take("discovery")
        page = await admin.list_projects(after=cursor, limit=PAGE)
        found |= {project.id: project for project in page.items}
        cursor = cursors.check(page.cursor, "projects")
        if cursor is None:
            return found

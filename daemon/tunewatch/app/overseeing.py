"""The organisations of one process: each in a loop of its own, that restarts alone.

Knows when they begin and end; what they watch is `organizations`' business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tunewatch import pace, sources
from tunewatch.app.announcements import Announcements
from tunewatch.app.lives import Lives
from tunewatch.app.organizations import Organization
from tunewatch.app.parts import Parts
from tunewatch.app.supervision import restarted
from tunewatch.clock import Clock
from tunewatch.config import OrganizationSettings, Settings, is_same
from tunewatch.settings import ConfigError, Mistake
from tunewatch.sources.contract import Organizing
from tunewatch.telemetry import Telemetry


@dataclass(slots=True, kw_only=True)
class Overseeing:
    """Watches over the organisations that are configured."""

    settings: Settings
    lives: Lives
    telemetry: Telemetry
    announcements: Announcements
    clock: Clock
    jitter: pace.Jitter
    organizations: dict[str, Organization] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def born(self) -> None:
        """Let totals begin at 0. Raises ConfigError for a kind without projects."""
        for one in self.settings.organizations.values():
            organizing_of(one)
        if self.settings.organizations:
            self.telemetry.organizations_born()

    async def begin(self, tasks: asyncio.TaskGroup, parts: Parts, http: object) -> None:
        """Begin; return once each has decided a first time what is watched."""
        for one in self.settings.organizations.values():
            self._begin(one, tasks, parts, http)
        for organization in self.organizations.values():
            await organization.met.wait()

    async def adopt(
        self, settings: Settings, tasks: asyncio.TaskGroup, parts: Parts, http: object
    ) -> None:
        """Go on with other settings; organisations that stay as they are go on.

        Of one that changed or is gone all sources end; what changed is decided anew,
        and not waited for.
        """
        before, self.settings = self.settings.organizations, settings
        now = settings.organizations
        over = [name for name, one in before.items() if not is_same(one, now.get(name))]
        for name in over:
            await self._end(name)
        for organization in self.organizations.values():
            organization.leave_out(settings.sources)
        for name, one in now.items():
            if name not in self.organizations:
                self._begin(one, tasks, parts, http)

    async def end(self) -> None:
        """End, so that no further source begins; those that live are left alone."""
        self._over.set()
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _begin(
        self,
        settings: OrganizationSettings,
        tasks: asyncio.TaskGroup,
        parts: Parts,
        http: object,
    ) -> None:
        organization = Organization(
            settings=settings,
            organizing=organizing_of(settings),
            lives=self.lives,
            parts=parts,
            http=http,
            tasks=tasks,
            telemetry=self.telemetry,
            announcements=self.announcements,
            learn=self.settings.learned.append,
            not_ours=self.settings.sources,
        )
        self.organizations[settings.name] = organization
        self._tasks[settings.name] = self._watch_over(tasks, organization)

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        await self.organizations.pop(name).end()
        self.telemetry.organization_gone(name)

    def why_not(self, source: str) -> str | None:
        """Return why a project is not watched, None if it is nobody's project."""
        said = (one.why(source) for one in self.organizations.values())
        return next((why for why in said if why is not None), None)

    def _watch_over(
        self, tasks: asyncio.TaskGroup, organization: Organization
    ) -> asyncio.Task[None]:
        def died(reason: str | None) -> None:
            organization.died = reason
            if reason is not None:
                organization.met.set()

        name = f"organization:{organization.name}"
        watching = restarted(
            name,
            organization.run,
            stop=self._over,
            clock=self.clock,
            jitter=self.jitter,
            died=died,
            counted=partial(self.telemetry.loop_died, "organization"),
        )
        return tasks.create_task(watching, name=name)


def organizing_of(settings: OrganizationSettings) -> Organizing[Any]:
    """Return how projects of a kind are listed. Raises ConfigError if it has none."""
    organizing = sources.load(settings.kind).organizing
    if organizing is None:
        text = f"wanted a kind that has organisations; found {settings.kind}"
        key = f"organizations.{settings.name}.kind"
        raise ConfigError([Mistake(where="", key=key, text=text)])
    return organizing

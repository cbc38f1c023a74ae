"""The part of `tunewatch check` that looks at an organisation: its projects and keys.

Asks the admin API for the list of projects and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

from tunewatch.app.judging import Rules, Verdict, judge
from tunewatch.app.overseeing import organizing_of
from tunewatch.app.project_keys import ProjectKeys
from tunewatch.app.project_list import every_project
from tunewatch.app.projects_shown import summary
from tunewatch.clock import SystemClock
from tunewatch.config import OrganizationSettings, SourceSettings
from tunewatch.poller.budget import Budget
from tunewatch.sources.contract import Project, SourceContext, Unavailable

PAGES_AT_ONCE = 600
"""Pages a minute: a check is short, and nobody else asks meanwhile."""
SLOWEST = 30.0  #: s for the whole list


@dataclass(frozen=True, slots=True)
class Projects:
    """What an organisation has, as a daemon would see it."""

    sources: dict[str, SourceSettings]  #: that would be watched
    titles: dict[str, str]
    notes: dict[str, str]  #: by project, what a person may want to do
    every: Collection[str]  #: ids
    words: str  #: all of it in a sentence


async def look_at(
    one: OrganizationSettings, http: object, *, not_ours: Collection[str]
) -> Projects:
    """Return the projects of an organisation. Raises a source's faults."""
    organizing = organizing_of(one)
    keys = ProjectKeys(
        one.keys,
        is_project=organizing.is_project,
        monotonic=time.monotonic,
        learn=lambda _secret: None,
    )
    await keys.look()
    if keys.trouble is not None:
        raise Unavailable(f"{one.keys} cannot be read: {keys.trouble}")
    listed = await _listed(one, http)
    verdicts = {
        project: judge(
            project,
            listed=listed.get(project),
            is_listing_known=one.admin_key is not None,
            has_key=keys.key(project) is not None,
            is_known=False,
            rules=Rules(include=one.include, exclude=one.exclude),
        )
        for project in sorted({*listed, *keys.projects()} - set(not_ours))
    }
    notes = {
        project: keys.wanted(project)
        for project, verdict in verdicts.items()
        if verdict is Verdict.NO_KEY
    }
    notes |= {
        project: "there is a key, but the organisation lists no such project"
        for project, verdict in verdicts.items()
        if verdict is Verdict.UNLISTED
    }
    return Projects(
        sources={
            project: one.source(project, key=keys.key(project))
            for project, verdict in verdicts.items()
            if verdict is Verdict.WATCHED
        },
        titles={project: found.title for project, found in listed.items()},
        notes=notes,
        every=list(verdicts),
        words=summary(verdicts.values()),
    )


async def _listed(one: OrganizationSettings, http: object) -> dict[str, Project]:
    """Return the projects on the list; none without an admin key."""
    if one.admin_key is None:
        return {}
    context = SourceContext(
        name=one.name,
        secret=one.admin_key.get,
        observe=lambda _call: None,
        http=http,
    )
    budget = Budget(PAGES_AT_ONCE, SystemClock())
    async with organizing_of(one).open(one.template.settings, context) as admin:
        try:
            async with asyncio.timeout(SLOWEST):
                return await every_project(admin, budget)
        except TimeoutError:
            raise Unavailable(f"no list of projects within {SLOWEST:g} s") from None

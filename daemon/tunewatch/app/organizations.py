"""An organisation: each of its projects becomes a source as soon as there is a key.

Looks at the folder of keys every few seconds and at the list of projects every few
minutes; sources begin and end without a restart. What ends lives on as an orphan until
what waits for plugins is delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import structlog

from tunewatch.app.announcements import Announcements
from tunewatch.app.judging import Rules, Verdict, judge
from tunewatch.app.lives import HURRY, Lives
from tunewatch.app.parts import Parts
from tunewatch.app.project_keys import ProjectKeys
from tunewatch.app.project_list import ProjectList
from tunewatch.app.projects_shown import ProjectsShown, summary
from tunewatch.app.sources import opened
from tunewatch.app.terms import SourceLife
from tunewatch.config import OrganizationSettings, SourceSettings
from tunewatch.settings import ConfigError, Secret
from tunewatch.sources.contract import Organizing, SourceContext
from tunewatch.telemetry import Telemetry
from tunewatch.unbidden import begin
from tunewatch.web import PartState

LOOK_EVERY = 2.0
"""s between looks at the folder of keys."""
FIRST_LIST = 5.0
"""s that a start waits for the list of projects; what is known lives without it."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Organization:
    """One organisation in this process."""

    settings: OrganizationSettings
    organizing: Organizing[Any]
    lives: Lives
    parts: Parts
    http: object
    tasks: asyncio.TaskGroup  #: where the sources live
    telemetry: Telemetry
    announcements: Announcements
    learn: Callable[[Secret], None]
    not_ours: Collection[str]  #: projects that have a table of their own
    met: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was decided a first time what is watched."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    died: str | None = None  #: why its loop ended, if by a fault
    listing: ProjectList = field(init=False)
    keys: ProjectKeys = field(init=False)
    shown: ProjectsShown = field(init=False)
    _begun: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)  # to the store: watched before
    _unfinished: set[str] = field(default_factory=set)  # with jobs not settled
    _refused: set[str] = field(default_factory=set)  # by their own keys
    _deaf: dict[str, str | None] = field(default_factory=dict)  # unusable secrets

    def __post_init__(self) -> None:
        clock, admin_key = self.parts.clock, self.settings.admin_key
        self.listing = ProjectList(
            organization=self.name,
            every=self.settings.list_interval,
            key=(lambda: None) if admin_key is None else admin_key.get,
            clock=clock,
            jitter=self.parts.jitter,
        )
        self.keys = ProjectKeys(
            self.settings.keys,
            is_project=self.organizing.is_project,
            monotonic=clock.monotonic,
            learn=self.learn,
        )
        self.shown = ProjectsShown(
            organization=self.name,
            kind=self.settings.kind,
            lives=self.lives,
            telemetry=self.telemetry,
        )

    @property
    def name(self) -> str:
        """The organisation's name in the configuration."""
        return self.settings.name

    @property
    def has_failed(self) -> bool:
        """Whether its projects could not be listed, for `run --once`."""
        return self.died is not None or self.listing.failures > 0

    async def run(self) -> NoReturn:
        """Watch its projects for as long as the process lives. Raises StoreFault."""
        kept = self.parts.store.sources
        self._known |= {row.name for row in await kept.all()}
        self._unfinished |= await kept.unfinished()
        async with asyncio.TaskGroup() as tasks:
            if self.settings.admin_key is not None:
                begin(tasks, f"projects:{self.name}", self._list())
                await self._first_list()
            while True:
                await self.keys.look()
                await self._decide()
                self.met.set()
                await self.parts.clock.sleep(LOOK_EVERY)
        raise AssertionError("an organisation is watched as long as the process lives")

    async def _list(self) -> NoReturn:
        context = SourceContext(
            name=self.name,
            secret=self.listing.key,
            observe=partial(self.parts.measures.called, self.name),
            http=self.http,
            now=self.parts.clock.now,
        )
        settings = self.settings.template.settings
        async with self.organizing.open(settings, context) as admin:
            await self.listing.keep(admin)
        raise AssertionError("the list is kept for as long as the process lives")

    async def _first_list(self) -> None:
        try:
            async with asyncio.timeout(FIRST_LIST):
                await self.listing.tried.wait()
        except TimeoutError:
            _log.info("organization.begins_without_list", organization=self.name)

    def leave_out(self, projects: Collection[str]) -> None:
        """Leave projects to tables of their own from now on, and only those."""
        self.not_ours = projects
        self._begun.difference_update(projects)

    async def end(self) -> None:
        """Let what is watched end, once its loop has; it lives on as orphans do."""
        self.lives.hurry(self._begun, grace=HURRY)
        await self._end(list(self._begun))
        for project in self.verdicts:
            self.shown.hide(project)

    # What is watched

    async def _decide(self) -> None:
        """Let sources begin and end as it is wanted now, and say what is missing."""
        before = self.verdicts
        self.verdicts = {one: self._judge(one) for one in self._projects()}
        await self._end([one for one in self._begun if self._is_over(one)])
        await self._begin([one for one in self.verdicts if self._is_due(one)])
        for one in before.keys() - self.verdicts.keys():
            self.shown.hide(one)
        for one, verdict in self.verdicts.items():
            self.shown.show(
                one,
                verdict,
                title=self._title(one),
                why=self.why(one),
                news=before.get(one) is not verdict,
            )
            if self.lives.has(one):
                self._hear(one)
        is_up = not self.listing.failures and self.keys.trouble is None
        self.shown.count(self.verdicts, up=is_up, news=before != self.verdicts)
        self._want_list()

    def _want_list(self) -> None:
        """Ask for the list soon where it may know more than we do.

        Of a key of a project that is not on it, or of a key that is newly refused: its
        project may be archived.
        """
        lives = self.lives.sources
        refused = {
            one for one in self._begun if one in lives and is_refused(lives[one])
        }
        if Verdict.UNLISTED in self.verdicts.values() or refused - self._refused:
            self.listing.want()
        self._refused = refused

    def _projects(self) -> list[str]:
        """Return every project that is listed, has a key, or is watched by us."""
        listed = self.listing.projects or {}
        every = {*listed, *self.keys.projects(), *self._begun}
        return sorted(
            one
            for one in every
            if one not in self.not_ours
            and (one in self._begun or not self.lives.has(one))
        )

    def _judge(self, project: str) -> Verdict:
        return judge(
            project,
            listed=(self.listing.projects or {}).get(project),
            is_listing_known=self.listing.projects is not None,
            has_key=self.keys.key(project) is not None,
            is_known=project in self._known,
            rules=Rules(include=self.settings.include, exclude=self.settings.exclude),
        )

    def _is_due(self, project: str) -> bool:
        """Whether a project is to be watched and is not."""
        if self.lives.has(project):
            return False
        match self.verdicts[project]:
            case Verdict.WATCHED:
                return True
            case Verdict.ARCHIVED:
                # Its jobs may have ended while nobody watched.
                is_left = project in self._unfinished
                return is_left and self.keys.key(project) is not None
            case _:
                return False

    def _is_over(self, project: str) -> bool:
        """Whether a project is watched and is not to be any more."""
        match self.verdicts[project]:
            case Verdict.LEFT_OUT | Verdict.NO_KEY:
                return True
            case Verdict.ARCHIVED:
                life = self.lives.sources.get(project)
                return life is not None and has_nothing_due(life)
            case _:
                return False

    async def _begin(self, projects: list[str]) -> None:
        if not projects:
            return
        openings = {}
        for one in projects:
            settings = self._source(one)
            openings[one] = partial(opened, settings, self.parts, self.http)
            _log.info("organization.watching", source=one, title=self._title(one))
        self._begun.update(projects)
        self._known.update(projects)
        self.telemetry.born(sources=projects)
        await self.lives.begin(self.tasks, openings)

    async def _end(self, projects: list[str]) -> None:
        lives = self.lives.sources
        rows = [lives[one].row for one in projects if one in lives]
        await self.lives.end(*projects)
        self._begun.difference_update(projects)
        self._unfinished.difference_update(projects)
        for one in projects:
            self.announcements.forget(one)
            self.telemetry.source_gone(one)
            reason = self.why(one)
            _log.info("organization.no_longer_watching", source=one, reason=reason)
        for row in rows:
            why = self.why(row.name)
            self.lives.begin_orphan(self.tasks, row, self.parts, why=why)

    def _source(self, project: str) -> SourceSettings:
        return self.settings.source(
            project,
            key=self.keys.key(project),
            webhook_secret=self.keys.webhook(project),
        )

    # What is said

    def state(self) -> PartState:
        """Return how it is, for /readyz."""
        listing = self.listing
        if self.died is not None:
            return PartState(state="down", reason=self.died)
        if not self.met.is_set():
            return PartState(state="starting")
        if self.keys.trouble is not None:
            reason = f"{self.settings.keys} cannot be read: {self.keys.trouble}"
            return PartState(state="down", reason=reason)
        if listing.since is not None:
            state = "refused" if listing.is_refused else "down"
            return PartState(state=state, reason=listing.reason, since=listing.since)
        return PartState(state="up", reason=summary(self.verdicts.values()))

    def why(self, project: str) -> str | None:
        """Return why a project is not watched, None if it is none of ours."""
        match self.verdicts.get(project):
            case None:
                return None
            case Verdict.NO_KEY:
                return self.keys.wanted(project)
            case Verdict.UNLISTED:
                return "there is a key, but the organisation lists no such project"
            case Verdict.LEFT_OUT:
                return "left out by include and exclude"
            case verdict:
                return f"it is {verdict.value}"

    def _title(self, project: str) -> str:
        listed = (self.listing.projects or {}).get(project)
        return "" if listed is None else listed.title

    def _hear(self, project: str) -> None:
        """Take a project's webhooks as soon as there is a secret for them."""
        secret = self.keys.webhook(project)
        if secret is None:
            self.announcements.forget(project)
            return
        text = secret.get()
        is_known_bad = project in self._deaf and self._deaf[project] == text
        if self.announcements.hears(project) or is_known_bad:
            return
        try:
            self.announcements.listen([self._source(project)])
        except ConfigError as error:
            self._deaf[project] = text
            reason = error.mistakes[0].text
            _log.warning("webhook.secret_unusable", source=project, reason=reason)


def has_nothing_due(life: SourceLife) -> bool:
    """Whether no more is to be expected of a source whose project is archived."""
    poller = life.poller
    if poller is None:
        return False  # another replica has it, or it has only begun
    if is_refused(life):
        return True
    return poller.is_caught_up.is_set() and poller.tracked == 0


def is_refused(life: SourceLife) -> bool:
    """Whether the key of a source is refused."""
    return life.poller is not None and life.poller.trouble.refused

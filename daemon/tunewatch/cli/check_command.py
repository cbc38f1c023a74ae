"""`tunewatch check`: whether the daemon would work.

Looks at configuration, credentials, the store, and asks each source for one job. Sends
nothing to anybody, unless asked to by --send-test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import click

from tunewatch.cli.check_organization import Projects, look_at
from tunewatch.cli.exits import OK, STORE, UNREACHABLE
from tunewatch.cli.options import config_option
from tunewatch.cli.output import moment
from tunewatch.config import OrganizationSettings, Settings, SourceSettings
from tunewatch.settings import duration_text
from tunewatch.store.leftovers import LeftPlugin, LeftSource

SLOWEST = 30.0  #: s for one source to answer


class Report:
    """What was looked at: a line each, and the exit code of the worst."""

    def __init__(self) -> None:
        self.code = OK

    def well(self, what: str, found: str) -> None:
        """Note that something is as it should be."""
        click.echo(f"ok      {what}: {found}")

    def note(self, what: str, found: str) -> None:
        """Note what is no fault, and what a person may want to do about it."""
        click.echo(f"note    {what}: {found}")

    def wrong(self, what: str, found: str, code: int) -> None:
        """Note that something is not; the first code stays."""
        click.echo(f"failed  {what}: {found}")
        self.code = self.code or code


@click.command()
@click.option(
    "--send-test",
    is_flag=True,
    help="Send one event that says that it is a test to every receiver.",
)
@config_option
def command(send_test: bool, config_path: Path | None) -> int:
    """Check configuration, credentials, store and sources; send nothing else."""
    from tunewatch import host
    from tunewatch.app.announcements import listening_of
    from tunewatch.app.overseeing import organizing_of
    from tunewatch.cli.check_surroundings import look_around
    from tunewatch.cli.check_web import look_at_web
    from tunewatch.cli.settings import load_settings

    settings = load_settings(config_path)
    report = Report()
    read = ", ".join(settings.files) or "no file: the environment alone"
    report.well("configuration", read)
    for instance in host.instances(settings):
        wants = ", ".join(instance.events) or "no events: it is only asked"
        report.well(f"plugin {instance.name}", f"{instance.kind}, {wants}")
    for doubt in settings.doubts:
        report.note(doubt.key, doubt.text)
    look_around(settings, report)
    look_at_web(settings, report)
    for organization in settings.organizations.values():
        organizing_of(organization)
    for name, one in listening_of(settings.sources.values()).items():
        report.well(f"webhooks of {name}", f"POST /hooks/{one.kind}/{name}")
    asyncio.run(_check(settings, report))
    if send_test:
        asyncio.run(_send_test(settings, report))
    return report.code


async def _send_test(settings: Settings, report: Report) -> None:
    from tunewatch.cli.trying import try_receivers
    from tunewatch.telemetry import Redactor, configure_logs

    configure_logs(  # what plugins say meanwhile is no part of the report
        level="error",
        form=settings.daemon.log_format,
        redact=Redactor(settings.secrets()),
        environ=os.environ,
    )
    for tried in await try_receivers(settings):
        what = f"test event to {tried.plugin}"
        if tried.is_well:
            report.well(what, tried.found)
        else:
            report.wrong(what, tried.found, UNREACHABLE)


async def _check(settings: Settings, report: Report) -> None:
    from tunewatch.sources.http import shared_http

    async with shared_http() as http:
        projects = [
            await _organization(one, settings, http, report)
            for one in settings.organizations.values()
        ]
        known = {*settings.sources, *(one for some in projects for one in some.every)}
        look_at_store = partial(_store, settings, known, report)
        await _attempt(report, "store", STORE, look_at_store)
        for source in settings.sources.values():
            look = partial(_source, source, http, report)
            await _attempt(report, f"source {source.name}", UNREACHABLE, look)
        for some in projects:
            for name, source in some.sources.items():
                title = f" ({some.titles[name]})" if some.titles.get(name) else ""
                look = partial(_source, source, http, report)
                await _attempt(report, f"source {name}{title}", UNREACHABLE, look)


async def _organization(
    one: OrganizationSettings, settings: Settings, http: object, report: Report
) -> Projects:
    """Look at an organisation; what cannot be looked at has no projects."""
    from tunewatch.sources.contract import SourceFault

    what = f"organization {one.name}"
    try:
        found = await look_at(one, http, not_ours=settings.sources)
    except SourceFault as fault:
        report.wrong(what, fault.reason, UNREACHABLE)
        return Projects({}, {}, {}, (), "")
    report.well(what, found.words)
    for project, note in found.notes.items():
        title = f" ({found.titles[project]})" if found.titles.get(project) else ""
        report.note(f"project {project}{title}", note)
    return found


async def _attempt(
    report: Report, what: str, code: int, look: Callable[[], Awaitable[str]]
) -> None:
    from tunewatch.sources.contract import SourceFault
    from tunewatch.store.records import StoreFault

    try:
        report.well(what, await look())
    except (SourceFault, StoreFault) as fault:
        report.wrong(what, fault.reason, code)


async def _store(settings: Settings, known: Collection[str], report: Report) -> str:
    from tunewatch.store.address import sqlite_path
    from tunewatch.store.reading import open_reader

    daemon = settings.daemon
    path = sqlite_path(daemon.state)
    if path is not None and not path.exists():
        return _can_be_made(path)
    password = None if daemon.password is None else daemon.password.get
    async with open_reader(daemon.state, password=password) as reader:
        number = len(await reader.sources())
        for source in await reader.left_sources(known):
            report.note(f"source {source.name}", _left_source(source))
        for plugin in await reader.left_plugins(settings.plugins):
            report.note(f"plugin {plugin.name}", _left_plugin(plugin))
    return f"{daemon.state} opens and knows {number} sources"


def _left_source(source: LeftSource) -> str:
    """Say what is kept of a source that is not configured, and what to do."""
    waits = f", and events of {source.lanes} wait for plugins" * bool(source.lanes)
    return (
        f"not configured, but the store has {source.jobs} jobs of it, "
        f"{source.unsettled} of them not settled{waits}. A running daemon delivers "
        "what waits and hands the jobs to sources that see them. If it has another "
        f'name now, set renamed_from = "{source.name}" there'
    )


def _left_plugin(plugin: LeftPlugin) -> str:
    """Say what is kept of a plugin that is not configured, and what to do."""
    from tunewatch.store.retention import ABSENT

    used = f", last used {moment(plugin.last_used_at)}" * bool(plugin.last_used_at)
    letters = f", with {plugin.dead_letters} dead letters" * bool(plugin.dead_letters)
    return (
        f"not configured, but the store knows how far it was{used}{letters}. Under "
        f"the same name it goes on there, for {duration_text(ABSENT)} without loss"
    )


def _can_be_made(path: Path) -> str:
    """Return that the first start will make the file. Raises StoreUnusable."""
    from tunewatch.store.records import StoreUnusable

    directory = path.parent
    while not directory.exists():
        directory = directory.parent
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        raise StoreUnusable(
            f"wanted to make {path}; found that {directory} cannot be written by this "
            "user: name another file (daemon.state) or run as the daemon's user"
        )
    return f"{path} does not exist yet; the first start makes it"


async def _source(source: SourceSettings, http: object, report: Report) -> str:
    from tunewatch import sources
    from tunewatch.cli.check_surroundings import clock_text
    from tunewatch.sources.contract import Call, SourceContext, Unavailable

    key = source.api_key
    calls: list[Call] = []
    context = SourceContext(
        name=source.name,
        secret=(lambda: None) if key is None else key.get,
        observe=calls.append,
        http=http,
    )
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(
            sources.load(source.kind).open(source.settings, context)
        )
        try:
            async with asyncio.timeout(SLOWEST):
                page = await opened.list_jobs(after=None, limit=1)
        except TimeoutError:
            raise Unavailable(f"no answer within {SLOWEST:g} s") from None
        late = clock_text(next((call.clock_offset for call in calls), None))
        if late is not None:
            report.note(f"source {source.name}", late)
        more = "has jobs" if page.count or page.items else "has no jobs yet"
        return f"{opened.realm} answers and {more}"

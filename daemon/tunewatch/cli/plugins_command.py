"""`tunewatch plugins`: what is installed and configured, its state; pause and resume.

Pausing and resuming are requests: a row that the running daemon takes within a second.
"""

from __future__ import annotations

import asyncio
import os

import click
import msgspec

from tunewatch.api.answers import PluginList
from tunewatch.cli.beside import beside, expect_plugin, who
from tunewatch.cli.options import Where, output_option, where_options
from tunewatch.cli.output import moment, print_data, print_table
from tunewatch.cli.reading import read
from tunewatch.config import DaemonSettings


@click.group(invoke_without_command=True)
@output_option
@where_options
@click.pass_context
def command(ctx: click.Context, form: str, where: Where) -> None:
    """List plugins and their state; pause or resume one."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = where
        return None
    found = _listed(where)
    if form != "table":
        return print_data({"data": found.data, "installed": found.installed}, form)
    print_table(
        (
            *("plugin", "kind", "state", "pending", "dead letters", "since"),
            *("next probe", "reason"),
        ),
        [
            (
                one.name,
                one.kind,
                one.state,
                one.pending,
                one.dead_letters,
                moment(one.since),
                moment(one.retry_at),
                one.reason,
            )
            for one in found.data
        ],
    )
    click.echo(f"installed: {', '.join(found.installed)}", err=True)
    return None


@command.command()
@click.argument("name")
@click.pass_obj
def pause(where: Where, name: str) -> None:
    """Hold back deliveries to a plugin until it is resumed; nothing is lost."""
    _request("pause", name, where)


@command.command()
@click.argument("name")
@click.pass_obj
def resume(where: Where, name: str) -> None:
    """Let deliveries to a paused plugin go on."""
    _request("resume", name, where)


def _listed(where: Where) -> PluginList:
    """Return the configured plugins, new ones if there is no store yet."""
    if where.url is not None:
        return read(where, lambda reading: reading.plugins())
    from tunewatch import host
    from tunewatch.api.stored import Stored, new_plugins
    from tunewatch.cli.settings import load_settings
    from tunewatch.clock import SystemClock
    from tunewatch.store.address import sqlite_path
    from tunewatch.store.reading import is_served, open_to_read
    from tunewatch.store.reads import Reader
    from tunewatch.store.redelivering import Redeliver

    settings = load_settings(where.config)
    instances, daemon = host.instances(settings), settings.daemon
    path = sqlite_path(daemon.state)
    if path is not None and not path.exists():
        return new_plugins(instances)
    password = None if daemon.password is None else daemon.password.get

    async def kept() -> PluginList:
        async with open_to_read(daemon.state, password=password) as carrier:
            if not await is_served(daemon.state, carrier):
                told = "no daemon runs: this is how the last one left them"
                click.echo(told, err=True)
            redeliver = Redeliver(carrier, clock=SystemClock())
            stored = Stored(Reader(carrier), redeliver, instances=instances)
            return await stored.plugins()

    return asyncio.run(kept())


def _request(kind: str, name: str, where: Where) -> None:
    if where.url is not None:
        asyncio.run(_ask_daemon(kind, name, where))
    else:
        _leave(kind, name, where)
    click.echo(f"{kind} {name}: asked for; a running daemon does it at once", err=True)


async def _ask_daemon(kind: str, name: str, where: Where) -> None:
    from tunewatch.cli.remote import remote

    async with remote(where, os.environ) as daemon:
        await daemon.act(f"{kind}_plugin", name)


def _leave(kind: str, name: str, where: Where) -> None:
    from tunewatch.cli.settings import load_settings

    settings = load_settings(where.config)
    expect_plugin(settings, name)
    asyncio.run(_ask(kind, name, settings.daemon))


async def _ask(kind: str, name: str, daemon: DaemonSettings) -> None:
    from tunewatch.clock import SystemClock
    from tunewatch.store.audit import Deed
    from tunewatch.store.requests import Requests

    body = msgspec.json.encode({"plugin": name})
    deed = Deed(who(), f"{kind}_plugin", name)
    async with beside(daemon) as carrier:
        requests = Requests(carrier, clock=SystemClock())
        await requests.add(kind, None, body, deed=deed)

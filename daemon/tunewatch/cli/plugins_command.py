"""`tunewatch plugins`: what is installed and configured, its state; pause and resume.

Pausing and resuming are requests: a row that the running daemon takes within a second.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from tunewatch.cli.beside import beside, expect_plugin
from tunewatch.cli.options import config_option, output_option
from tunewatch.cli.output import moment, print_data, print_table
from tunewatch.config import DaemonSettings, Settings
from tunewatch.store.ledger import Backlog, IsWanted
from tunewatch.store.plugin_states import PluginState


@click.group(invoke_without_command=True)
@output_option
@config_option
@click.pass_context
def command(ctx: click.Context, form: str, config_path: Path | None) -> None:
    """List plugins and their state; pause or resume one."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = config_path or ctx.find_root().obj
        return None
    from tunewatch.cli.settings import load_settings

    settings = load_settings(config_path)
    rows = asyncio.run(_rows(settings))
    if form != "table":
        return print_data({"data": rows, "installed": _installed()}, form)
    print_table(
        (
            *("plugin", "kind", "state", "pending", "dead letters", "since"),
            *("next probe", "reason"),
        ),
        [
            (
                row["name"],
                row["kind"],
                row["state"],
                row["pending"],
                row["dead_letters"],
                moment(row["since"]),
                moment(row["retry_at"]),
                row["reason"],
            )
            for row in rows
        ],
    )
    click.echo(f"installed: {', '.join(_installed())}", err=True)
    return None


@command.command()
@click.argument("name")
@click.pass_obj
def pause(config_path: Path | None, name: str) -> None:
    """Hold back deliveries to a plugin until it is resumed; nothing is lost."""
    _request("pause", name, config_path)


@command.command()
@click.argument("name")
@click.pass_obj
def resume(config_path: Path | None, name: str) -> None:
    """Let deliveries to a paused plugin go on."""
    _request("resume", name, config_path)


def _installed() -> list[str]:
    from tunewatch import host

    return host.kinds()


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    """Return the configured plugins, with what the store keeps of them."""
    from tunewatch import host

    is_wanted = host.wanted_by(host.instances(settings))
    states, backlog = await _kept(settings.daemon, is_wanted)
    rows = []
    for name, plugin in settings.plugins.items():
        state = states.get(name)
        waiting = [one for one in backlog if one.plugin == name]
        rows.append(
            {
                "name": name,
                "kind": plugin.kind,
                "state": state.state if state else "new",
                "reason": state.reason if state else None,
                "since": state.since if state else None,
                "retry_at": state.retry_at if state else None,
                "pending": sum(one.pending for one in waiting),
                "dead_letters": sum(one.dead_letters for one in waiting),
            }
        )
    return rows


async def _kept(
    daemon: DaemonSettings, is_wanted: IsWanted
) -> tuple[dict[str, PluginState], list[Backlog]]:
    """Return what the store keeps of plugins; nothing if there is no store yet."""
    from tunewatch.store.address import sqlite_path
    from tunewatch.store.reading import is_served, open_to_read
    from tunewatch.store.reads import Reader

    path = sqlite_path(daemon.state)
    if path is not None and not path.exists():
        return {}, []
    password = None if daemon.password is None else daemon.password.get
    async with open_to_read(daemon.state, password=password) as carrier:
        reader = Reader(carrier)
        if not await is_served(daemon.state, carrier):
            click.echo("no daemon runs: this is how the last one left them", err=True)
        states = {one.name: one for one in await reader.plugins()}
        return states, await reader.backlog(is_wanted=is_wanted)


def _request(kind: str, name: str, config_path: Path | None) -> None:
    from tunewatch.cli.settings import load_settings

    settings = load_settings(config_path)
    expect_plugin(settings, name)
    asyncio.run(_ask(kind, name, settings.daemon))
    click.echo(f"{kind} {name}: asked for; a running daemon does it at once", err=True)


async def _ask(kind: str, name: str, daemon: DaemonSettings) -> None:
    from tunewatch.clock import SystemClock
    from tunewatch.store.requests import Requests

    body = msgspec.json.encode({"plugin": name})
    async with beside(daemon) as carrier:
        await Requests(carrier, clock=SystemClock()).add(kind, None, body)

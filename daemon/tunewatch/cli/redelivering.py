"""Asking the running daemon to deliver again, and telling what became of it.

Data goes to stdout, everything else to stderr. Whoever stops waiting stops nothing.
"""

from __future__ import annotations

import asyncio
import getpass
import socket
import sys
from collections.abc import Sequence
from typing import Any

import click

from tunewatch.cli.beside import beside
from tunewatch.cli.exits import OK, UNDELIVERED, USAGE, Quit
from tunewatch.cli.output import moment, print_data, print_facts, print_table
from tunewatch.clock import SystemClock
from tunewatch.config import DaemonSettings
from tunewatch.host import Instance
from tunewatch.store import plugin_states
from tunewatch.store.carrier import Carrier
from tunewatch.store.choice import CannotChoose, Line, Plan, Selection
from tunewatch.store.reading import is_served, open_to_read
from tunewatch.store.redelivering import Progress, Redeliver

SHOWN = 20
"""Events that a dry run shows."""
RECENT = 50
"""Requests that are listed."""
LOOK_EVERY = 0.3
"""s between looks at how far it is."""

Plugins = Sequence[Instance]


async def show_plan(
    daemon: DaemonSettings, selection: Selection, plugins: Plugins, form: str
) -> int:
    """Print what would go out; change nothing."""
    async with open_to_read(daemon.state, password=_password(daemon)) as carrier:
        redeliver = Redeliver(carrier, clock=SystemClock())
        plan = await _planned(redeliver, selection, plugins)
        first = await redeliver.lines(plan, plugins, limit=SHOWN)
    if form != "table":
        told = {**_plan_object(plan), "first": [one._asdict() for one in first]}
        print_data(told, form)
        return OK
    if first:
        columns = ("plugin", "job", "event", "type", "position", "letter")
        print_table(columns, [_cells(one) for one in first])
    _say(f"would redeliver {_summary(plan)}")
    if plan.events > len(first):
        _say(f"the first {len(first)} are shown")
    return OK


async def ask(
    daemon: DaemonSettings,
    selection: Selection,
    plugins: Plugins,
    *,
    form: str,
    wait: bool,
) -> int:
    """Ask for what is meant, and wait until it is over if so wished."""
    async with beside(daemon) as carrier:
        redeliver = Redeliver(carrier, clock=SystemClock())
        plan = await _planned(redeliver, selection, plugins)
        made = await redeliver.make(plan, by=_who())
        if made is None:
            return _nothing(plan, form)
        _say(f"redelivery {made}: asked for {_summary(plan)}")
        if wait:
            await _wait(daemon, carrier, redeliver, made, _names(plan))
        progress = await redeliver.progress(made)
    assert progress is not None  # noqa: S101 - it was made a moment ago
    return _told(progress, form, waited=wait)


async def show_recent(daemon: DaemonSettings, form: str) -> int:
    """Print what was asked for lately, newest first."""
    async with open_to_read(daemon.state, password=_password(daemon)) as carrier:
        found = await Redeliver(carrier, clock=SystemClock()).recent(limit=RECENT)
    if form != "table":
        print_data({"data": [progress_object(one) for one in found]}, form)
        return OK
    columns = ("redelivery", "at", "by", "events", "accepted", "jobs left", "refused")
    print_table(
        (*columns, "asked", "reason"),
        [
            (
                *(one.id, moment(one.at), one.by, one.events, one.accepted, one.left),
                *(one.refused, _asked(one.selection), one.reason),
            )
            for one in found
        ],
    )
    return OK


async def cancel(daemon: DaemonSettings, redelivery: int) -> int:
    """Take back what has not gone out of a redelivery."""
    async with beside(daemon) as carrier:
        redeliver = Redeliver(carrier, clock=SystemClock())
        if await redeliver.progress(redelivery) is None:
            raise Quit(
                USAGE,
                f"there is no redelivery {redelivery}; `tunewatch redeliver --list` "
                "shows those there are",
            )
        taken_back = await redeliver.cancel(redelivery, by=_who())
    if taken_back:
        _say(f"redelivery {redelivery}: what has not gone out yet is taken back")
    else:
        _say(f"redelivery {redelivery} was over already")
    return OK


def progress_object(one: Progress) -> dict[str, Any]:
    """Return a redelivery and what became of it as plain data."""
    return one._asdict()


async def _planned(
    redeliver: Redeliver, selection: Selection, plugins: Plugins
) -> Plan:
    """Return the plan; what was named must be possible, all of it. Raises Quit."""
    try:
        plan = await redeliver.plan(selection, plugins)
    except CannotChoose as cannot:
        raise Quit(USAGE, cannot.reason) from None
    if plan.refused and (selection.events or selection.letters):
        raise Quit(USAGE, "; ".join(plan.refused))
    for reason in plan.refused:
        _say(reason)
    return plan


async def _wait(
    daemon: DaemonSettings,
    carrier: Carrier,
    redeliver: Redeliver,
    made: int,
    names: set[str],
) -> None:
    """Wait until a redelivery is over, or nobody is there to do it."""
    said: set[str] = set()
    while True:
        progress = await redeliver.progress(made)
        if progress is None or not progress.left:
            break
        if not await is_served(daemon.state, carrier):
            _say("no daemon runs on this store: it goes out as soon as one does")
            return
        for reason in await _troubles(carrier, names):
            if reason not in said:
                said.add(reason)
                _say(f"{reason}; still waiting, and Ctrl-C stops nothing but that")
        _show_bar(progress)
        await asyncio.sleep(LOOK_EVERY)
    _show_bar(None)


async def _troubles(carrier: Carrier, names: set[str]) -> list[str]:
    states = await carrier.read(plugin_states.current)
    return [
        f"{one.name} is {one.state}: {one.reason}"
        for one in states
        if one.name in names and one.state != "up"
    ]


def _told(progress: Progress, form: str, *, waited: bool) -> int:
    if form != "table":
        print_data(progress_object(progress), form)
    elif waited:
        print_facts(
            {
                "redelivery": progress.id,
                "events": progress.events,
                "accepted": progress.accepted,
                "jobs left": progress.left or None,
                "refused": progress.reason,
            }
        )
    if not waited or progress.accepted >= progress.events:
        return OK
    if not progress.left:
        _say(
            f"not everything was accepted: `tunewatch deliveries --redelivery "
            f"{progress.id} --outcome failed` tells why"
        )
    return UNDELIVERED


def _nothing(plan: Plan, form: str) -> int:
    if form != "table":
        print_data(_plan_object(plan), form)
    why = ""
    if plan.under_way:
        why = (
            ": all of it was asked for before and is under way; `tunewatch redeliver "
            "--list` shows how far it is"
        )
    _say(f"nothing to redeliver{why}")
    return OK


def _plan_object(plan: Plan) -> dict[str, Any]:
    return {
        "redelivery": None,
        "events": plan.events,
        "jobs": _jobs(plan),
        "plugins": sorted(_names(plan)),
        "under_way": plan.under_way,
        "refused": plan.refused,
    }


def _summary(plan: Plan) -> str:
    """Return in words how much it is."""
    if not plan.events:
        return "nothing" + (", all is under way already" if plan.under_way else "")
    said = f"{_count(plan.events, 'event')} of {_count(_jobs(plan), 'job')}"
    said += f" to {', '.join(sorted(_names(plan)))}"
    if plan.under_way:
        said += f"; {_count(plan.under_way, 'event')} more under way already"
    return said


def _jobs(plan: Plan) -> int:
    return len({(one.source_id, one.job_key) for one in plan.stretches})


def _names(plan: Plan) -> set[str]:
    return {one.plugin for one in plan.stretches}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def _cells(one: Line) -> tuple[str | int | None, ...]:
    return (
        one.plugin,
        one.job_id,
        one.event_id,
        one.event_type,
        one.position,
        one.letter,
    )


def _asked(selection: Selection) -> str:
    """Return what was asked for, on one line."""
    given = {
        name: getattr(selection, name)
        for name in selection.__struct_fields__
        if getattr(selection, name)
    }
    for name in {"since", "until"} & given.keys():
        given[name] = moment(given[name])
    return ", ".join(
        name if value is True else f"{name} {_listed(value)}"
        for name, value in given.items()
    )


def _listed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _who() -> str:
    """Return who asks, for the record."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _password(daemon: DaemonSettings) -> Any:
    return None if daemon.password is None else daemon.password.get


def _show_bar(progress: Progress | None) -> None:
    """Show how far it is where a person watches; None clears it away."""
    if not sys.stderr.isatty():
        return
    said = ""
    if progress is not None:
        said = f"{progress.accepted:,} of {progress.events:,} events accepted …"
    click.echo(f"\r\x1b[K{said}", nl=False, err=True)


def _say(text: str) -> None:
    _show_bar(None)
    click.echo(text, err=True)

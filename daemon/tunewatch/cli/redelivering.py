"""Asking a running daemon to deliver again, and telling what became of it.

Data goes to stdout, everything else to stderr. Whoever stops waiting stops nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click
from msgspec.structs import replace

from tunewatch.api.answers_deliveries import PlanAnswer, PlannedEvent, RedeliveryAnswer
from tunewatch.api.asked_deliveries import RedeliverBody, RedeliveriesAsked
from tunewatch.api.faults import NotThere
from tunewatch.cli.desks import Desk, open_desk
from tunewatch.cli.exits import OK, UNDELIVERED, UNREACHABLE, USAGE, Quit
from tunewatch.cli.options import Where
from tunewatch.cli.output import Cell, moment, print_data, print_facts, print_table

SHOWN = 20
"""Events that a dry run shows."""
RECENT = 50
"""Requests that are listed."""
LOOK_EVERY = 0.3
"""s between looks at how far it is."""


async def show_plan(where: Where, body: RedeliverBody, form: str) -> int:
    """Print what would go out; change nothing."""
    async with open_desk(where, to_write=False) as desk:
        plan = await desk.redeliver(replace(body, dry_run=True))
    plan = replace(plan, first=plan.first[:SHOWN])
    _say_refused(plan)
    if form != "table":
        print_data(plan, form)
        return OK
    if plan.first:
        columns = ("plugin", "job", "event", "type", "position", "letter")
        print_table(columns, [_cells(one) for one in plan.first])
    _say(f"would redeliver {_summary(plan)}")
    if plan.events > len(plan.first):
        _say(f"the first {len(plan.first)} are shown")
    return OK


async def ask(where: Where, body: RedeliverBody, *, form: str, wait: bool) -> int:
    """Ask for what is meant, and wait until it is over if so wished."""
    async with open_desk(where, to_write=True) as desk:
        plan = await desk.redeliver(body)
        _say_refused(plan)
        if plan.id is None:
            return _nothing(plan, form)
        _say(f"redelivery {plan.id}: asked for {_summary(plan)}")
        if wait:
            await _wait(desk, plan)
        progress = await desk.reading.redelivery(str(plan.id))
    return _told(progress, form, waited=wait)


async def show_recent(where: Where, form: str) -> int:
    """Print what was asked for lately, newest first."""
    async with open_desk(where, to_write=False) as desk:
        found = await desk.reading.redeliveries(RedeliveriesAsked(limit=RECENT))
    if form != "table":
        print_data({"data": found.data}, form)
        return OK
    columns = ("redelivery", "at", "by", "events", "accepted", "jobs left", "refused")
    print_table(
        (*columns, "asked", "reason"),
        [
            (
                *(one.id, moment(one.at), one.by, one.events, one.accepted, one.left),
                *(one.refused, _asked(one.asked), one.reason),
            )
            for one in found.data
        ],
    )
    return OK


async def cancel(where: Where, redelivery: int) -> int:
    """Take back what has not gone out of a redelivery."""
    async with open_desk(where, to_write=True) as desk:
        try:
            before = await desk.reading.redelivery(str(redelivery))
        except NotThere as fault:
            shown = "`tunewatch redeliver --list` shows those there are"
            raise Quit(USAGE, f"{fault.reason}; {shown}") from None
        if before.left:
            await desk.cancel(redelivery)
    if before.left:
        _say(f"redelivery {redelivery}: what has not gone out yet is taken back")
    else:
        _say(f"redelivery {redelivery} was over already")
    return OK


async def _wait(desk: Desk, plan: PlanAnswer) -> None:
    """Wait until a redelivery is over, or nobody is there to do it."""
    said: set[str] = set()
    try:
        while (progress := await desk.reading.redelivery(str(plan.id))).left:
            if not await desk.is_served():
                _say("no daemon runs on this store: it goes out as soon as one does")
                return
            for reason in await desk.troubles(plan.plugins):
                if reason not in said:
                    said.add(reason)
                    _say(f"{reason}; still waiting, and Ctrl-C stops nothing but that")
            _show_bar(progress)
            await asyncio.sleep(LOOK_EVERY)
    except Quit as cannot:
        if cannot.code == UNREACHABLE:
            _say(f"redelivery {plan.id} was asked for and goes on when the daemon does")
        raise
    _show_bar(None)


def _told(progress: RedeliveryAnswer, form: str, *, waited: bool) -> int:
    if form != "table":
        print_data(progress, form)
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


def _nothing(plan: PlanAnswer, form: str) -> int:
    if form != "table":
        print_data(plan, form)
    why = ""
    if plan.under_way:
        why = (
            ": all of it was asked for before and is under way; `tunewatch redeliver "
            "--list` shows how far it is"
        )
    _say(f"nothing to redeliver{why}")
    return OK


def _say_refused(plan: PlanAnswer) -> None:
    for reason in plan.refused:
        _say(reason)


def _summary(plan: PlanAnswer) -> str:
    """Return in words how much it is."""
    if not plan.events:
        return "nothing" + (", all is under way already" if plan.under_way else "")
    said = f"{_count(plan.events, 'event')} of {_count(plan.jobs, 'job')}"
    said += f" to {', '.join(plan.plugins)}"
    if plan.under_way:
        said += f"; {_count(plan.under_way, 'event')} more under way already"
    return said


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def _cells(one: PlannedEvent) -> tuple[Cell, ...]:
    return (
        one.plugin,
        one.job_id,
        one.event_id,
        one.event_type,
        one.position,
        one.letter,
    )


def _asked(asked: Mapping[str, Any]) -> str:
    """Return what was asked for, on one line."""
    given = dict(asked)
    for name in {"since", "until"} & given.keys():
        given[name] = moment(given[name])
    return ", ".join(
        name if value is True else f"{name} {_listed(value)}"
        for name, value in given.items()
    )


def _listed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _show_bar(progress: RedeliveryAnswer | None) -> None:
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

"""`tunewatch deliveries`: what was tried and what came of it, newest first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_args

import click

from tunewatch.api.answers_deliveries import (
    DeadLetterAnswer,
    DeadLetterList,
    DeliveryAnswer,
    DeliveryList,
)
from tunewatch.api.asked import OneJobAsked
from tunewatch.api.asked_deliveries import DeadLettersAsked, DeliveriesAsked, Outcome
from tunewatch.api.faults import Ambiguous
from tunewatch.api.reading import Reading
from tunewatch.cli.options import (
    Moment,
    Where,
    output_option,
    source_option,
    where_options,
)
from tunewatch.cli.output import Cell, moment, print_data, print_table
from tunewatch.cli.reading import gathered, read

AskedT = TypeVar("AskedT", DeliveriesAsked, DeadLettersAsked)
ATTEMPTS = (
    *("id", "at", "plugin", "job", "event", "type", "try", "outcome", "status"),
    *("ms", "redelivery", "said"),
)
LETTERS = (
    *("letter", "at", "plugin", "job", "event", "type", "positions", "tries"),
    "reason",
)


@click.command()
@click.option("--dead", is_flag=True, help="Dead letters that are open, instead.")
@click.option("--closed", is_flag=True, help="With --dead: redelivered ones too.")
@click.option("--plugin", metavar="NAME", help="Only deliveries to this plugin.")
@click.option("--job", metavar="JOB", help="Only events of this job.")
@source_option
@click.option("--event", metavar="EVENT", help="Only attempts of this event.")
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice(get_args(Outcome)),
    multiple=True,
    help="Only attempts with this outcome; can be given more than once.",
)
@click.option("--redelivery", type=int, help="Only attempts of this redelivery.")
@click.option("--since", type=Moment(), help="Not before: 2h ago, or a moment.")
@click.option("--until", type=Moment(), help="Only before that.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", type=int, metavar="ID", help="Only those older than this one.")
@output_option
@where_options
def command(
    *,
    dead: bool,
    closed: bool,
    event: str | None,
    outcomes: tuple[Outcome, ...],
    redelivery: int | None,
    limit: int,
    form: str,
    where: Where,
    **wanted: Any,
) -> None:
    """List attempts to deliver, or with --dead the dead letters, newest first."""
    of_attempts = {"--event": event, "--outcome": outcomes, "--redelivery": redelivery}
    for name, given in of_attempts.items():
        if dead and given:
            raise click.UsageError(f"{name} is of attempts: it does not go with --dead")
    if closed and not dead:
        raise click.UsageError("--closed is of dead letters: it goes with --dead")
    wanted["before"] = wanted.pop("until")
    for name in ("since", "before"):
        wanted[name] = None if wanted[name] is None else int(wanted[name])
    if dead:
        letters = DeadLettersAsked(closed=closed, **wanted)
        found = _read(where, letters, limit, lambda r, asked: r.dead_letters(asked))
        _print(found, form, LETTERS, _letter, "dead letters")
    else:
        attempts = DeliveriesAsked(
            event=event, outcome=outcomes, redelivery=redelivery, **wanted
        )
        found = _read(where, attempts, limit, lambda r, asked: r.deliveries(asked))
        _print(found, form, ATTEMPTS, _attempt, "attempts")


def _print(
    found: _Found,
    form: str,
    columns: tuple[str, ...],
    cells: Callable[[Any], tuple[Cell, ...]],
    what: str,
) -> None:
    if form == "table":
        print_table(columns, [cells(one) for one in found.items])
    else:
        print_data({"data": found.items, "has_more": found.has_more}, form)
    _tell_rest(found, what)


class _Found(NamedTuple):
    items: list[Any]
    has_more: bool


def _read(
    where: Where,
    asked: AskedT,
    most: int,
    ask: Callable[[Reading, AskedT], Awaitable[DeliveryList | DeadLetterList]],
) -> _Found:
    """Return up to so many, page by page; names that there are not raise Quit."""

    async def pages(reading: Reading) -> _Found:
        items, last = await gathered(partial(ask, reading), asked, most)
        if not items:
            await _expect_names(reading, where, asked)
        return _Found(items, last.has_more)

    return read(where, pages)


def _attempt(one: DeliveryAnswer) -> tuple[Cell, ...]:
    return (
        one.id,
        moment(one.at),
        one.plugin,
        one.job_id,
        one.event_id,
        one.event_type,
        one.number,
        one.outcome,
        one.status,
        round(one.seconds * 1000),
        one.redelivery,
        one.answer if one.reason is None else one.reason,
    )


def _letter(one: DeadLetterAnswer) -> tuple[Cell, ...]:
    first, last = one.first_position, one.last_position
    return (
        one.id,
        moment(one.at),
        one.plugin,
        one.job_id,
        one.event_id,
        one.event_type,
        str(first) if first == last else f"{first}-{last}",
        one.tries,
        one.reason if one.closed_at is None else f"redelivered; {one.reason}",
    )


def _tell_rest(found: _Found, what: str) -> None:
    """Say on stderr how to see more, or that there is nothing."""
    if found.has_more:
        last = found.items[-1].id
        click.echo(f"there are more: --after {last}, or a higher --limit", err=True)
    if not found.items:
        click.echo(f"no {what}", err=True)


async def _expect_names(
    reading: Reading, where: Where, asked: DeliveriesAsked | DeadLettersAsked
) -> None:
    """Raise Quit for a plugin or a job that there is not: nothing is no answer then."""
    from tunewatch.cli.beside import expect_name
    from tunewatch.cli.settings import load_settings

    if asked.plugin is not None:
        if where.url is None:
            names = list(load_settings(where.config).plugins)
        else:
            names = [one.name for one in (await reading.plugins()).data]
        expect_name(names, asked.plugin)
    if asked.job is not None:
        with suppress(Ambiguous):
            await reading.job(asked.job, OneJobAsked())

"""`tunewatch deliveries`: what was tried and what came of it, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.options import Moment, config_option, output_option, source_option
from tunewatch.cli.output import Cell, moment, print_data, print_table
from tunewatch.store.deliveries import OUTCOMES, Attempted, DeadLetter
from tunewatch.store.reads import Reader

FAILED = "failed"
"""Stands for every outcome but `accepted`."""
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
    type=click.Choice([*OUTCOMES, FAILED]),
    multiple=True,
    help="Only attempts with this outcome; can be given more than once.",
)
@click.option("--redelivery", type=int, help="Only attempts of this redelivery.")
@click.option("--since", type=Moment(), help="Not before: 2h ago, or a moment.")
@click.option("--until", type=Moment(), help="Only before that.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", type=int, metavar="ID", help="Only those older than this one.")
@output_option
@config_option
def command(
    *,
    dead: bool,
    closed: bool,
    event: str | None,
    outcomes: tuple[str, ...],
    redelivery: int | None,
    form: str,
    config_path: Path | None,
    **wanted: Any,
) -> None:
    """List attempts to deliver, or with --dead the dead letters, newest first."""
    of_attempts = {"--event": event, "--outcome": outcomes, "--redelivery": redelivery}
    for name, given in of_attempts.items():
        if dead and given:
            raise click.UsageError(f"{name} is of attempts: it does not go with --dead")
    if closed and not dead:
        raise click.UsageError("--closed is of dead letters: it goes with --dead")
    wanted["job_id"] = wanted.pop("job")
    if dead:
        wanted["only_open"] = not closed
        return _letters(wanted, form, config_path)
    wanted |= {"event_id": event, "redelivery": redelivery}
    wanted["outcomes"] = _meant(outcomes)
    return _attempts(wanted, form, config_path)


def _meant(outcomes: tuple[str, ...]) -> list[str] | None:
    if not outcomes:
        return None
    failed = OUTCOMES[1:] if FAILED in outcomes else ()
    return sorted({*outcomes, *failed} - {FAILED})


def _attempts(wanted: dict[str, Any], form: str, config_path: Path | None) -> None:
    from tunewatch.cli.reading import read_store

    limit = wanted["limit"]

    async def ask(reader: Reader) -> list[Attempted]:
        return await reader.deliveries.attempts(**{**wanted, "limit": limit + 1})

    found = read_store(config_path, ask)
    if not found:
        _expect_names(wanted, config_path)
    if form == "table":
        print_table(ATTEMPTS, [_attempt(one) for one in found[:limit]])
    else:
        _print_data(found, limit, form)
    _tell_rest(found, limit, "attempts")


def _letters(wanted: dict[str, Any], form: str, config_path: Path | None) -> None:
    from tunewatch.cli.reading import read_store

    limit = wanted["limit"]

    async def ask(reader: Reader) -> list[DeadLetter]:
        return await reader.deliveries.dead_letters(**{**wanted, "limit": limit + 1})

    found = read_store(config_path, ask)
    if not found:
        _expect_names(wanted, config_path)
    if form == "table":
        print_table(LETTERS, [_letter(one) for one in found[:limit]])
    else:
        _print_data(found, limit, form)
    _tell_rest(found, limit, "dead letters")


def _print_data(
    found: list[Attempted] | list[DeadLetter], limit: int, form: str
) -> None:
    rows = [one._asdict() for one in found[:limit]]
    print_data({"data": rows, "has_more": len(found) > limit}, form)


def _attempt(one: Attempted) -> tuple[Cell, ...]:
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


def _letter(one: DeadLetter) -> tuple[Cell, ...]:
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


def _tell_rest(
    found: list[Attempted] | list[DeadLetter], limit: int, what: str
) -> None:
    """Say on stderr how to see more, or that there is nothing."""
    if len(found) > limit:
        last = found[limit - 1].id
        click.echo(f"there are more: --after {last}, or a higher --limit", err=True)
    if not found:
        click.echo(f"no {what}", err=True)


def _expect_names(wanted: dict[str, Any], config_path: Path | None) -> None:
    """Raise Quit for a plugin or a job that there is not: nothing is no answer then."""
    from tunewatch.cli.beside import expect_plugin
    from tunewatch.cli.reading import read_store
    from tunewatch.cli.settings import load_settings

    if wanted["plugin"] is not None:
        expect_plugin(load_settings(config_path), wanted["plugin"])
    name = wanted["job_id"]
    if name is not None and not read_store(config_path, lambda r: r.find(name)):
        raise Quit(
            USAGE, f"there is no job {name} in the store; `tunewatch jobs` lists them"
        )

"""`tunewatch jobs`: what is known, newest first."""

from __future__ import annotations

from typing import Any

import click

from tunewatch.api.answers import JobAnswer
from tunewatch.api.asked import JobsAsked
from tunewatch.api.reading import Reading
from tunewatch.cli.options import (
    Where,
    metadata_option,
    output_option,
    pairs_of,
    source_option,
    where_options,
)
from tunewatch.cli.output import Cell, moment, print_data, print_table
from tunewatch.model import Selection

COLUMNS = (
    "job",
    "source",
    "status",
    "model",
    "suffix",
    "created",
    "step",
    "train loss",
    "valid loss",
    "best",
)


@click.command()
@source_option
@click.option("--status", help="Only jobs in this status, as the API says it.")
@click.option("--settled/--unsettled", default=None, help="Only those, or the others.")
@click.option("--model", help="Only jobs of this base model: its name, or a glob.")
@click.option("--suffix", help="Only jobs with this suffix.")
@metadata_option("Only jobs with this metadata; can be repeated.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", metavar="JOB", help="Only jobs older than this one.")
@output_option
@where_options
def command(
    *,
    where: Where,
    pairs: tuple[str, ...],
    limit: int,
    form: str,
    **wanted: Any,
) -> None:
    """List fine-tuning jobs, newest first."""
    from tunewatch.cli.reading import expect_source, read, some_jobs

    asked = JobsAsked(metadata=pairs_of(pairs), **wanted)

    async def ask(reading: Reading) -> tuple[list[JobAnswer], str | None]:
        found, following = await some_jobs(reading, asked, limit)
        if not found:
            await expect_source(reading, asked.source)
        return found, following

    found, following = read(where, ask)
    if form != "table":
        more = {"has_more": following is not None, "next": following}
        return print_data({"data": found, **more}, form)
    print_table(COLUMNS, [_cells(one) for one in found])
    if following is not None:
        click.echo(
            f"there are more: --after {following}, or a higher --limit", err=True
        )
    return None


def progress(step: int | None, total_steps: int | None) -> str | None:
    """Return how far a job is: `12/90`."""
    if step is None:
        return None
    return f"{step}/{total_steps}" if total_steps else str(step)


def _cells(one: JobAnswer) -> tuple[Cell, ...]:
    return (
        one.id,
        one.source,
        one.status,
        one.job.get("model"),
        one.job.get("suffix"),
        moment(one.job.get("created_at")),
        progress(one.step, one.total_steps),
        one.latest.get("train_loss"),
        one.latest.get("full_valid_loss", one.latest.get("valid_loss")),
        _best(one.selection),
    )


def _best(selection: Selection | None) -> str | None:
    """Return the step of the chosen checkpoint, `~` before it while provisional."""
    checkpoint = selection.data.get("checkpoint") if selection else None
    if selection is None or not isinstance(checkpoint, dict):
        return None
    sign = "" if selection.data.get("decision") == "final" else "~"
    return f"{sign}step {checkpoint.get('step_number')}"

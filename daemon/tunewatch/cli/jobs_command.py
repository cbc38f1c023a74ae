"""`tunewatch jobs`: what the store knows, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tunewatch.cli.options import config_option, output_option, source_option
from tunewatch.cli.output import moment, print_data, print_table
from tunewatch.model import job_object
from tunewatch.plugin import JobRow

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
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--after", metavar="JOB", help="Only jobs older than this one.")
@output_option
@config_option
def command(
    *,
    source: str | None,
    status: str | None,
    settled: bool | None,
    limit: int,
    after: str | None,
    form: str,
    config_path: Path | None,
) -> None:
    """List fine-tuning jobs, newest first."""
    from tunewatch.cli.reading import read

    page = read(
        config_path,
        lambda reader: reader.jobs(
            source=source, status=status, settled=settled, limit=limit, after=after
        ),
    )
    if form != "table":
        found = [row_object(row) for row in page.rows]
        return print_data({"data": found, "has_more": page.has_more}, form)
    print_table(COLUMNS, [_cells(row) for row in page.rows])
    if page.has_more:
        last = page.rows[-1].job.id
        click.echo(f"there are more: --after {last}, or a higher --limit", err=True)
    return None


def row_object(row: JobRow) -> dict[str, Any]:
    """Return a row of the overview as plain data."""
    return {
        "source": row.source,
        "realm": row.realm,
        "job": job_object(row.job),
        "settled": row.settled,
        "started_at": row.started_at,
        "status_changed_at": row.status_changed_at,
        "last_event_at": row.last_event_at,
        "step": row.step,
        "total_steps": row.total_steps,
        "latest": dict(row.latest),
        "selection": row.selection,
    }


def progress(row: JobRow) -> str | None:
    """Return how far a job is: `12/90`."""
    if row.step is None:
        return None
    return f"{row.step}/{row.total_steps}" if row.total_steps else str(row.step)


def _cells(row: JobRow) -> tuple[str | float | None, ...]:
    return (
        row.job.id,
        row.source,
        row.job.status,
        row.job.model,
        row.job.suffix,
        moment(row.job.created_at),
        progress(row),
        row.latest.get("train_loss"),
        row.latest.get("full_valid_loss", row.latest.get("valid_loss")),
        _best(row),
    )


def _best(row: JobRow) -> str | None:
    """Return the step of the chosen checkpoint, `~` before it while provisional."""
    selection = row.selection
    checkpoint = selection.data.get("checkpoint") if selection else None
    if selection is None or not isinstance(checkpoint, dict):
        return None
    sign = "" if selection.data.get("decision") == "final" else "~"
    return f"{sign}step {checkpoint.get('step_number')}"

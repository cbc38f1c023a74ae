"""`tunewatch best JOB`: the model name of the final choice and nothing else.

Made for scripts that deploy: the exit code tells, stdout holds one line or none.
"""

from __future__ import annotations

from pathlib import Path

import click

from tunewatch.cli.exits import NO_CHOICE, PROVISIONAL, Quit
from tunewatch.cli.options import config_option, source_option
from tunewatch.plugin import JobRow
from tunewatch.store.reads import Reader


@click.command(
    epilog="Exit codes: 0 a choice was printed, 4 there is none, 5 there is only a "
    "provisional one; the reason is on stderr."
)
@click.argument("job", required=False)
@source_option
@click.option("--provisional", is_flag=True, help="Print a provisional choice too.")
@click.option("--suffix", help="The newest settled job with this suffix.")
@click.option(
    "--metadata",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="The newest settled job with this metadata; can be repeated.",
)
@config_option
def command(
    *,
    job: str | None,
    source: str | None,
    provisional: bool,
    suffix: str | None,
    pairs: tuple[str, ...],
    config_path: Path | None,
) -> None:
    """Print the model of a job's best checkpoint and nothing else."""
    from tunewatch.cli.reading import only, read

    metadata = _metadata(pairs)
    if (job is None) == (suffix is None and not metadata):
        wanted = "name either a JOB, or its family by --suffix/--metadata"
        raise click.UsageError(wanted)

    async def ask(reader: Reader) -> JobRow | None:
        if job is None:
            return await reader.newest_chosen(
                suffix=suffix, metadata=metadata, source=source
            )
        found = await reader.find(job, source=source)
        return only(found, job).row if found else None

    row = read(config_path, ask)
    if row is None:
        raise Quit(NO_CHOICE, _nobody(job))
    click.echo(_model(row, provisional=provisional))


def _metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError("--metadata wants KEY=VALUE")
        found[key] = value
    return found


def _nobody(job: str | None) -> str:
    if job is None:
        return "no settled job of this family has a final choice"
    return f"there is no job {job} in the store; `tunewatch jobs` lists them"


def _model(row: JobRow, *, provisional: bool) -> str:
    """Return the model that was chosen. Raises Quit with the reason if none was."""
    selection, job_id = row.selection, row.job.id
    if selection is None:
        raise Quit(NO_CHOICE, f"no choice was made for {job_id} yet; {_status(row)}")
    checkpoint = selection.data.get("checkpoint")
    if not isinstance(checkpoint, dict):
        why = selection.data.get("detail") or selection.data.get("reason") or "unknown"
        raise Quit(NO_CHOICE, f"no checkpoint of {job_id} could be chosen: {why}")
    if selection.data.get("decision") != "final" and not provisional:
        raise Quit(
            PROVISIONAL,
            f"the choice for {job_id} is provisional; {_status(row)}. --provisional "
            "prints it",
        )
    model = checkpoint.get("fine_tuned_model_checkpoint")
    if not isinstance(model, str) or not model:
        raise Quit(NO_CHOICE, f"the chosen checkpoint of {job_id} names no model")
    return model


def _status(row: JobRow) -> str:
    settled = "settled" if row.settled else "not settled"
    return f"the job is {row.job.status} and {settled}"

"""`tunewatch best JOB`: the model name of the final choice and nothing else.

Made for scripts that deploy: the exit code tells, stdout holds one line or none.
"""

from __future__ import annotations

import click

from tunewatch.api.answers import BestAnswer
from tunewatch.api.asked import JobsAsked, OneJobAsked
from tunewatch.api.faults import NotThere
from tunewatch.api.reading import Reading
from tunewatch.api.representing import best_answer
from tunewatch.cli.exits import NO_CHOICE, PROVISIONAL, Quit
from tunewatch.cli.options import (
    Where,
    metadata_option,
    pairs_of,
    source_option,
    where_options,
)


@click.command(
    epilog="Exit codes: 0 a choice was printed, 4 there is none, 5 there is only a "
    "provisional one; the reason is on stderr."
)
@click.argument("job", required=False)
@source_option
@click.option("--provisional", is_flag=True, help="Print a provisional choice too.")
@click.option("--suffix", help="The newest settled job with this suffix.")
@metadata_option("The newest settled job with this metadata; can be repeated.")
@where_options
def command(
    *,
    job: str | None,
    source: str | None,
    provisional: bool,
    suffix: str | None,
    pairs: tuple[str, ...],
    where: Where,
) -> None:
    """Print the model of a job's best checkpoint and nothing else."""
    from tunewatch.cli.reading import read, some_jobs

    family = JobsAsked(
        source=source,
        settled=True,
        suffix=suffix,
        metadata=pairs_of(pairs),
        decision="final",
    )
    if (job is None) == (suffix is None and not family.metadata):
        wanted = "name either a JOB, or its family by --suffix/--metadata"
        raise click.UsageError(wanted)

    async def ask(reading: Reading) -> BestAnswer | None:
        if job is not None:
            return await reading.best(job, OneJobAsked(source=source))
        newest, _ = await some_jobs(reading, family, 1)
        return best_answer(newest[0]) if newest else None

    try:
        best = read(where, ask)
    except NotThere as fault:
        raise Quit(NO_CHOICE, f"{fault.reason}; `tunewatch jobs` lists them") from None
    if best is None:
        raise Quit(NO_CHOICE, "no settled job of this family has a final choice")
    click.echo(_model(best, provisional=provisional))


def _model(best: BestAnswer, *, provisional: bool) -> str:
    """Return the model that was chosen. Raises Quit with the reason if none was."""
    if best.event_id is None:
        raise Quit(NO_CHOICE, f"no choice was made for {best.id} yet; {_status(best)}")
    if best.checkpoint is None:
        why = best.detail or best.reason
        raise Quit(NO_CHOICE, f"no checkpoint of {best.id} could be chosen: {why}")
    if best.decision != "final" and not provisional:
        raise Quit(
            PROVISIONAL,
            f"the choice for {best.id} is provisional; {_status(best)}. --provisional "
            "prints it",
        )
    if best.model is None:
        raise Quit(NO_CHOICE, f"the chosen checkpoint of {best.id} names no model")
    return best.model


def _status(best: BestAnswer) -> str:
    settled = "settled" if best.settled else "not settled"
    return f"the job is {best.status} and {settled}"

"""`tunewatch show JOB`: one job in full."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec.structs import replace

from tunewatch.api.answers import BestAnswer, JobAnswer
from tunewatch.api.asked import OneJobAsked, PointsAsked
from tunewatch.api.reading import Reading
from tunewatch.api.representing import best_answer
from tunewatch.cli.jobs_command import progress
from tunewatch.cli.options import Where, output_option, source_option, where_options
from tunewatch.cli.output import Cell, moment, print_data, print_facts, print_table
from tunewatch.events.catalogue import PointObject

Checkpoints = tuple[dict[str, Any], ...]


@click.command()
@click.argument("job")
@source_option
@output_option
@where_options
def command(job: str, source: str | None, form: str, where: Where) -> None:
    """Show one job in full: facts, latest metrics, checkpoints, the choice."""
    from tunewatch.cli.reading import read

    async def ask(
        reading: Reading,
    ) -> tuple[JobAnswer, list[PointObject], Checkpoints]:
        found = await reading.job(job, OneJobAsked(source=source))
        of_it = OneJobAsked(source=found.source)
        points = [] if form == "table" else await _points(reading, found)
        return found, points, (await reading.checkpoints(job, of_it)).data

    found, points, checkpoints = read(where, ask)
    if form == "table":
        return _print(found, checkpoints)
    told = msgspec.to_builtins(found)
    return print_data({**told, "points": points, "checkpoints": checkpoints}, form)


async def _points(reading: Reading, of: JobAnswer) -> list[PointObject]:
    asked = PointsAsked(source=of.source)
    found: list[PointObject] = []
    while True:
        page = await reading.points(of.id, asked)
        found += page.data
        if not page.has_more:
            return found
        asked = replace(asked, after=found[-1].n)


def _print(found: JobAnswer, checkpoints: Checkpoints) -> None:
    print_facts({**_facts(found), **_chosen(found)})
    if found.latest:
        click.echo()
        print_table(("metric", "latest"), sorted(found.latest.items()))
    if checkpoints:
        click.echo()
        keys = sorted({key for one in checkpoints for key in one["metrics"]})
        print_table(
            ("checkpoint", "step", "created", *keys, "model"),
            [_checkpoint(one, keys) for one in checkpoints],
        )


def _facts(found: JobAnswer) -> dict[str, Cell]:
    job, error = found.job, found.job.get("error") or {}
    said = (error.get("code"), error.get("message"))
    return {
        "job": found.id,
        "source": found.source,
        "realm": found.realm,
        "status": found.status,
        "settled": "yes" if found.settled else "no",
        "error": " ".join(filter(None, said)) or None,
        "base model": job.get("model"),
        "fine-tuned model": job.get("fine_tuned_model"),
        "method": _method(job),
        "suffix": job.get("suffix"),
        "metadata": _pairs(job.get("metadata")),
        "hyperparameters": _pairs(job.get("hyperparameters")),
        "training file": job.get("training_file"),
        "validation file": job.get("validation_file"),
        "created": moment(job.get("created_at")),
        "started": moment(found.started_at),
        "finished": moment(job.get("finished_at")),
        "progress": progress(found.step, found.total_steps),
        "trained tokens": job.get("trained_tokens"),
    }


def _method(job: dict[str, Any]) -> str:
    kind = (job.get("method") or {}).get("type")
    return kind if isinstance(kind, str) and kind else "supervised"


def _pairs(mapping: dict[str, Any] | None) -> str | None:
    if not mapping:
        return None
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def _chosen(found: JobAnswer) -> dict[str, Cell]:
    if found.selection is None:
        return {}
    best: BestAnswer = best_answer(found)
    if best.checkpoint is None:
        why = " ".join(filter(None, (best.reason, best.detail)))
        return {"best checkpoint": f"none: {why}"}
    return {
        "best checkpoint": f"step {best.checkpoint.get('step_number')} "
        f"({best.decision}, {best.metric} = {best.value})",
        "best model": best.model,
    }


def _checkpoint(one: dict[str, Any], keys: list[str]) -> tuple[Cell, ...]:
    metrics = tuple(one["metrics"].get(key) for key in keys)
    created, model = moment(one["created_at"]), one["fine_tuned_model_checkpoint"]
    return (one["id"], one["step_number"], created, *metrics, model)

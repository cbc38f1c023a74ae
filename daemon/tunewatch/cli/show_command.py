"""`tunewatch show JOB`: one job in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tunewatch.cli.jobs_command import progress, row_object
from tunewatch.cli.options import config_option, output_option, source_option
from tunewatch.cli.output import Cell, moment, print_data, print_facts, print_table
from tunewatch.model import Checkpoint, MetricPoint, Selection, checkpoint_object
from tunewatch.plugin import JobRow
from tunewatch.store.overview import FoundJob
from tunewatch.store.reads import Reader


@click.command()
@click.argument("job")
@source_option
@output_option
@config_option
def command(job: str, source: str | None, form: str, config_path: Path | None) -> None:
    """Show one job in full: facts, latest metrics, checkpoints, the choice."""
    from tunewatch.cli.reading import only, read

    async def ask(
        reader: Reader,
    ) -> tuple[FoundJob, list[MetricPoint], list[Checkpoint]]:
        found = only(await reader.find(job, source=source), job)
        points = await reader.points(found.key) if form != "table" else []
        return found, points, await reader.checkpoints(found.key)

    found, points, checkpoints = read(config_path, ask)
    if form == "table":
        return _print(found.row, checkpoints)
    told = row_object(found.row)
    told["points"] = points
    told["checkpoints"] = [checkpoint_object(one, job) for one in checkpoints]
    return print_data(told, form)


def _print(row: JobRow, checkpoints: list[Checkpoint]) -> None:
    print_facts({**_facts(row), **_chosen(row.selection)})
    if row.latest:
        click.echo()
        latest = sorted(row.latest.items())
        print_table(("metric", "latest"), latest)
    if checkpoints:
        click.echo()
        keys = sorted({key for one in checkpoints for key in one.metrics})
        print_table(
            ("checkpoint", "step", "created", *keys, "model"),
            [_checkpoint(one, keys) for one in checkpoints],
        )


def _facts(row: JobRow) -> dict[str, Cell]:
    job, error = row.job, row.job.error
    return {
        "job": job.id,
        "source": row.source,
        "realm": row.realm,
        "status": job.status,
        "settled": "yes" if row.settled else "no",
        "error": " ".join(filter(None, (error.code, error.message))) if error else None,
        "base model": job.model,
        "fine-tuned model": job.fine_tuned_model,
        "method": job.training_method,
        "suffix": job.suffix,
        "metadata": _pairs(job.metadata),
        "hyperparameters": _pairs(job.hyperparameters),
        "training file": job.training_file,
        "validation file": job.validation_file,
        "created": moment(job.created_at),
        "started": moment(row.started_at),
        "finished": moment(job.finished_at),
        "progress": progress(row),
        "trained tokens": job.trained_tokens,
    }


def _pairs(mapping: dict[str, Any] | None) -> str | None:
    if not mapping:
        return None
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def _chosen(selection: Selection | None) -> dict[str, Cell]:
    if selection is None:
        return {}
    data = selection.data
    checkpoint = data.get("checkpoint")
    if not isinstance(checkpoint, dict):
        why = " ".join(filter(None, (data.get("reason"), data.get("detail"))))
        return {"best checkpoint": f"none: {why}"}
    return {
        "best checkpoint": f"step {checkpoint.get('step_number')} "
        f"({data.get('decision')}, {data.get('metric')} = {data.get('value')})",
        "best model": checkpoint.get("fine_tuned_model_checkpoint"),
    }


def _checkpoint(one: Checkpoint, keys: list[str]) -> tuple[Cell, ...]:
    metrics = tuple(one.metrics.get(key) for key in keys)
    return (one.id, one.step, moment(one.created_at), *metrics, one.model)

"""What a person reads of an event: one line.

Knows events, and nothing of where they come from.
"""

from __future__ import annotations

from typing import Any

from tunewatch.cli.output import Cell, moment, text_of
from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    Event,
    JobReopened,
    JobSettled,
    JobStatusChanged,
    JobUpdated,
    MessageLogged,
    MetricsRecorded,
    ReceiverTried,
    SourceDown,
    SourceUp,
)

COLUMNS = ("time", "source", "job", "event", "what")
WIDTHS = (20, 14, 30, 33, 0)
"""Of lines that come one by one: nobody knows yet how wide the next one will be."""


def cells(event: Event) -> tuple[Cell, ...]:
    """Return the cells of an event, in the order of `COLUMNS`."""
    return (
        moment(event.created_at),
        event.common.source,
        event.job_id,
        event.type,
        _what(event),
    )


def line(row: tuple[Cell, ...]) -> str:
    """Return one line whose columns stand where those of others most likely do."""
    texts = zip(map(text_of, row), WIDTHS, strict=True)
    return "  ".join(text.ljust(width) for text, width in texts).rstrip()


def _what(event: Event) -> str | None:
    match event.payload:
        case JobStatusChanged(previous_status=previous, job=job):
            said = [f"was {previous}" if previous else None, *_error(job)]
            return _joined(said)
        case MessageLogged(message=message, level=level):
            return message if level == "info" else f"{level}: {message}"
        case MetricsRecorded(points=points) if points:
            return f"step {points[-1].step}: {_values(points[-1].values)}"
        case CheckpointCreated(checkpoint=checkpoint):
            return _checkpoint(checkpoint)
        case CheckpointRemoved(checkpoint=checkpoint):
            return _checkpoint(checkpoint)
        case CheckpointSelected() as chosen:
            return (
                f"{chosen.decision}, {_checkpoint(chosen.checkpoint)}: {chosen.reason}"
            )
        case CheckpointUnselected(reason=reason, detail=detail):
            return f"{reason}: {detail}"
        case JobUpdated(changes=changes):
            return f"changed: {', '.join(sorted(changes))}"
        case JobSettled(duration_seconds=took) | JobReopened(duration_seconds=took):
            return None if took is None else f"took {took} s"
        case ReceiverTried(message=message):
            return message
        case SourceDown(reason=reason) | SourceUp(reason=reason):
            return reason
        case _:
            return None


def _values(values: dict[str, float]) -> str:
    """Return what people look at first; a grader's own figures are in the JSON."""
    shown = [f"{name}={values[name]:.6g}" for name in sorted(values) if "." not in name]
    rest = len(values) - len(shown)
    return " ".join([*shown, *([f"and {rest} more"] if rest else [])])


def _checkpoint(checkpoint: dict[str, Any]) -> str:
    step = checkpoint.get("step_number")
    model = checkpoint.get("fine_tuned_model_checkpoint")
    return f"step {step}, {model}" if model else f"step {step}"


def _error(job: dict[str, Any]) -> list[str | None]:
    error = job.get("error") or {}
    return [error.get("code"), error.get("message")]


def _joined(parts: list[str | None]) -> str | None:
    return ": ".join(part for part in parts if part) or None

"""An event in words for people: what a chat shows of it.

Knows events and no chat. What comes from outside (names, messages, errors) stays plain
text here; each chat makes it harmless in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    Event,
    JobDiscovered,
    JobRemoved,
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

Tone: TypeAlias = Literal["good", "bad", "odd", "plain"]


class Words(NamedTuple):
    """What is said of one event."""

    title: str
    text: str = ""
    tone: Tone = "plain"
    facts: tuple[tuple[str, str], ...] = ()


_TONES: dict[str, Tone] = {"succeeded": "good", "failed": "bad", "cancelled": "odd"}
_LEVELS: dict[str, Tone] = {"error": "bad", "warn": "odd", "warning": "odd"}


def words_of(event: Event) -> Words:
    """Return what people are told of an event."""
    say = _SAYINGS.get(type(event.payload))
    words = Words(event.type) if say is None else say(event, event.payload)
    return words._replace(facts=(*words.facts, *_where(event)))


def _where(event: Event) -> tuple[tuple[str, str], ...]:
    source = ("Source", event.common.source)
    return (source,) if event.job_id is None else (("Job", event.job_id), source)


def _status(event: Event, payload: JobStatusChanged) -> Words:
    status = event.common.status or event.type.rpartition(".")[2]
    name, error = _name(event, payload.job), payload.job.get("error")
    text = ""
    if status == "failed" and isinstance(error, Mapping):
        said = (_text(error.get("code")), _text(error.get("message")))
        text = ": ".join(part for part in said if part)
    facts = [
        ("Base model", _text(payload.job.get("model"))),
        ("Fine-tuned model", _text(payload.job.get("fine_tuned_model"))),
        ("Trained tokens", _number(payload.job.get("trained_tokens"))),
        ("Before", _text(payload.previous_status)),
    ]
    known = tuple(fact for fact in facts if fact[1])
    return Words(f"{name}: {status}", text, _TONES.get(status, "plain"), known)


def _selected(_event: Event, payload: CheckpointSelected) -> Words:
    chosen = payload.checkpoint
    word = "Best checkpoint" if payload.decision == "final" else "Best so far"
    facts = (
        ("Model", _text(chosen.get("fine_tuned_model_checkpoint"))),
        (payload.metric, f"{payload.value:g}"),
    )
    title = f"{word}: step {_number(chosen.get('step_number'))}"
    tone: Tone = "good" if payload.decision == "final" else "plain"
    return Words(title, payload.reason, tone, tuple(f for f in facts if f[1]))


def _unselected(_event: Event, payload: CheckpointUnselected) -> Words:
    return Words("No best checkpoint", payload.detail, "odd")


def _metrics(_event: Event, payload: MetricsRecorded) -> Words:
    last = payload.points[-1]
    of = "" if last.total_steps is None else f" of {last.total_steps}"
    facts = tuple((name, f"{value:g}") for name, value in last.values.items())
    return Words(f"Step {last.step}{of}", facts=facts)


def _message(_event: Event, payload: MessageLogged) -> Words:
    return Words("Message", payload.message, _LEVELS.get(payload.level, "plain"))


def _checkpoint(word: str) -> Callable[[Event, Any], Words]:
    def say(_event: Event, payload: CheckpointCreated | CheckpointRemoved) -> Words:
        step = _number(payload.checkpoint.get("step_number"))
        model = _text(payload.checkpoint.get("fine_tuned_model_checkpoint"))
        return Words(f"Checkpoint {word}: step {step}", model)

    return say


def _job(word: str, tone: Tone = "plain") -> Callable[[Event, Any], Words]:
    def say(event: Event, payload: JobDiscovered | JobSettled | JobRemoved) -> Words:
        took = getattr(payload, "duration_seconds", None)
        facts = () if took is None else (("Took", f"{took} s"),)
        return Words(f"{_name(event, payload.job)}: {word}", "", tone, facts)

    return say


def _updated(event: Event, payload: JobUpdated) -> Words:
    changed = ", ".join(sorted(payload.changes))
    return Words(f"{_name(event, payload.job)}: changed", changed)


def _down(event: Event, payload: SourceDown) -> Words:
    title = f"{event.common.source} does not answer"
    return Words(title, payload.reason, "bad", (("Since", payload.since),))


def _up(event: Event, payload: SourceUp) -> Words:
    return Words(f"{event.common.source} answers again", payload.reason, "good")


def _tried(_event: Event, payload: ReceiverTried) -> Words:
    return Words("Test", payload.message)


_SAYINGS: dict[type, Callable[[Event, Any], Words]] = {
    JobStatusChanged: _status,
    MessageLogged: _message,
    MetricsRecorded: _metrics,
    CheckpointCreated: _checkpoint("listed"),
    CheckpointRemoved: _checkpoint("gone"),
    JobDiscovered: _job("seen for the first time"),
    JobUpdated: _updated,
    JobSettled: _job("settled"),
    JobReopened: _job("changed after it was settled", "odd"),
    JobRemoved: _job("gone from its provider", "odd"),
    CheckpointSelected: _selected,
    CheckpointUnselected: _unselected,
    SourceDown: _down,
    SourceUp: _up,
    ReceiverTried: _tried,
}


def _name(event: Event, job: Mapping[str, Any]) -> str:
    suffix = _text(job.get("user_provided_suffix")) or _text(job.get("suffix"))
    return suffix or event.common.id


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:,}" if is_number else ""

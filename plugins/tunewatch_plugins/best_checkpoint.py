"""Reactor: says which checkpoint of each job is the best, and takes it back if it goes.

It looks at a job's current state, not at the event that woke it, so one look after many
changes says what all of them come to, and saying nothing twice means comparing with
what was said last (`Snapshot.selection`).

* While a job is not settled, a choice is `provisional`, and said when the best
  checkpoint becomes another one. Of a job that had already ended when it was first seen
  nothing provisional is said: its history is told at once, the answer at settling.
* When a job settled, the answer is `selected` with `final`, or `unselected`. Late news
  of a settled job are not answered: a final choice stands until the job is reopened or
  the checkpoint is removed.

How the best is found is `tunewatch.selection`'s business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunewatch.events import (
    CheckpointCreated,
    CheckpointRemoved,
    CheckpointSelected,
    CheckpointUnselected,
    JobReopened,
    JobSettled,
    MetricsRecorded,
)
from tunewatch.model import Snapshot, checkpoint_object
from tunewatch.plugin import Context, Delivery, Derived, JobReader, Plugin, Reactor
from tunewatch.selection import (
    FULL_METRICS,
    Choice,
    Goal,
    NoChoice,
    Rules,
    Tie,
    select,
)


class Settings(BaseModel):
    """How the best checkpoint is found; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: dict[str, str] = Field(default_factory=lambda: dict(FULL_METRICS))
    """By training method, what decides. What is given here is laid over the default."""
    goal: Goal | dict[str, Goal] | None = None
    """What is better, for all methods or by method. Default: by the metric's name."""
    min_delta: float = 0.0
    """Values that differ by no more are equally good; in the metric's own unit."""
    tie: Tie = "earliest"
    """Which of equally good checkpoints is taken."""
    fallback: Literal["none", "smoothed_valid_loss"] = "none"
    """What decides for an ended job of which no checkpoint has the metric: the mean of
    the mini-batch `valid_loss` around each checkpoint's step. A weak reason: opt in."""
    window: int = 11
    """How many such values the fallback takes the mean of; an odd number."""

    @field_validator("metrics")
    @classmethod
    def _over_the_default(cls, given: dict[str, str]) -> dict[str, str]:
        return {**FULL_METRICS, **given}

    @model_validator(mode="after")
    def _is_sound(self) -> Settings:
        self.rules()
        return self

    def rules(self) -> Rules:
        """Return the settings as the selection takes them. Raises ValueError."""
        goals = self.goal
        if isinstance(goals, str):
            goals = dict.fromkeys(self.metrics, goals)
        return Rules(
            metrics=self.metrics,
            goals=goals or {},
            min_delta=self.min_delta,
            tie=self.tie,
            smoothed=self.fallback == "smoothed_valid_loss",
            window=self.window,
        )


class BestCheckpoint:
    """Answers events with the choice that the job's state now comes to."""

    def __init__(self, rules: Rules, jobs: JobReader) -> None:
        self._rules = rules
        self._jobs = jobs
        self._metrics = frozenset(rules.metrics.values())

    async def react(self, delivery: Delivery) -> Sequence[Derived]:
        """Return what there is to say about the job, usually nothing."""
        event = delivery.event
        payload = event.payload
        if event.job_id is None:
            return ()
        if isinstance(payload, MetricsRecorded) and not self.heeds(payload):
            return ()
        snapshot = await self._jobs.snapshot(event.common.source, event.job_id)
        if snapshot is None:
            return ()
        said = _Said(snapshot)
        if not said.vanished and _is_answered_elsewhere(snapshot, delivery, said):
            return ()
        choice = select(
            snapshot.job, snapshot.points, snapshot.checkpoints, self._rules
        )
        if isinstance(choice, Choice):
            return said.selected(choice)
        return said.unselected(choice, repeated=delivery.redelivered)

    def heeds(self, metrics: MetricsRecorded) -> bool:
        """Whether they can change the choice: told without reading the job."""
        return any(not self._metrics.isdisjoint(p.values) for p in metrics.points)


def _is_answered_elsewhere(snapshot: Snapshot, delivery: Delivery, said: _Said) -> bool:
    event = delivery.event
    if isinstance(event.payload, JobSettled):
        # Asked again by a person, under settings that may have changed since.
        return delivery.redelivered and said.is_final
    # The event of settling is on its way and will be answered.
    if snapshot.settled:
        return True
    return event.common.backfilled and snapshot.job.state.is_terminal


class _Said:
    """What was last said about a job, and what there is to say now."""

    def __init__(self, snapshot: Snapshot) -> None:
        last = snapshot.selection
        self._snapshot = snapshot
        self._selected: dict[str, Any] | None = None
        self._decision: str | None = None
        self._unselected: str | None = None
        if last is not None and last.type == CheckpointSelected.TYPE:
            self._selected = last.data["checkpoint"]
            self._decision = last.data["decision"]
        elif last is not None and last.type == CheckpointUnselected.TYPE:
            self._unselected = last.data["reason"]

    @property
    def is_final(self) -> bool:
        return self._decision == "final"

    @property
    def vanished(self) -> bool:
        """Whether the checkpoint that was chosen is no longer listed."""
        if self._selected is None:
            return False
        chosen = self._selected["id"]
        return all(listed.id != chosen for listed in self._snapshot.checkpoints)

    def selected(self, choice: Choice) -> Sequence[Derived]:
        best = choice.checkpoint.id
        is_same = self._selected is not None and self._selected["id"] == best
        if is_same and (self.is_final or not self._snapshot.settled):
            return ()
        reason = choice.reason
        if self.vanished:
            reason += " The checkpoint that was chosen before is no longer listed."
        data = {
            "checkpoint": checkpoint_object(choice.checkpoint, self._snapshot.job.id),
            "decision": "final" if self._snapshot.settled else "provisional",
            "metric": choice.metric,
            "goal": choice.goal,
            "value": choice.value,
            "reason": reason,
            "candidates": [msgspec.to_builtins(c) for c in choice.candidates],
            "previous": self._selected,
        }
        return (Derived(type=CheckpointSelected.TYPE, data=data),)

    def unselected(self, none: NoChoice, *, repeated: bool) -> Sequence[Derived]:
        if self.vanished:
            detail = f"The chosen checkpoint is no longer listed. {none.detail}"
            return _unselected("checkpoint_removed", detail)
        if not self._snapshot.settled or self._unselected == none.reason:
            return ()
        if repeated and self._unselected is not None:
            return ()
        return _unselected(none.reason, none.detail)


def _unselected(reason: str, detail: str) -> Sequence[Derived]:
    data = {"reason": reason, "detail": detail}
    return (Derived(type=CheckpointUnselected.TYPE, data=data),)


@asynccontextmanager
async def open_reactor(settings: Settings, context: Context) -> AsyncIterator[Reactor]:
    """Lend the reactor; it holds nothing that would have to be closed."""
    yield BestCheckpoint(settings.rules(), context.jobs)


PLUGIN = Plugin(
    settings=Settings,
    events=(
        CheckpointCreated.TYPE,
        CheckpointRemoved.TYPE,
        MetricsRecorded.TYPE,
        "@terminal",
        JobSettled.TYPE,
        JobReopened.TYPE,
    ),
    open=open_reactor,
)

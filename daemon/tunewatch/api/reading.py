"""Whoever answers the questions: the store, or a daemon that is asked over HTTP.

The command line asks either by the same words and cannot tell them apart.
"""

from __future__ import annotations

from typing import Protocol

from tunewatch.api.answers import (
    BestAnswer,
    CheckpointList,
    EventList,
    JobAnswer,
    JobList,
    PluginList,
    PointList,
    SchemaList,
    SourceList,
)
from tunewatch.api.answers_deliveries import (
    AuditList,
    DeadLetterList,
    DeliveryAnswer,
    DeliveryList,
    RedeliveryAnswer,
    RedeliveryList,
)
from tunewatch.api.asked import (
    EventsAsked,
    EventsOfJobAsked,
    JobsAsked,
    OneJobAsked,
    PointsAsked,
)
from tunewatch.api.asked_deliveries import (
    AuditAsked,
    DeadLettersAsked,
    DeliveriesAsked,
    RedeliveriesAsked,
)


class Reading(Protocol):
    """Answers questions about the committed state.

    Every method raises NotThere, Ambiguous or Mistaken for a question that has no
    answer, and what its own way of reading raises if there is no way now.
    """

    async def jobs(self, asked: JobsAsked) -> JobList:
        """Return a page of jobs, newest first."""
        ...

    async def job(self, job_id: str, asked: OneJobAsked) -> JobAnswer:
        """Return one job."""
        ...

    async def points(self, job_id: str, asked: PointsAsked) -> PointList:
        """Return a page of a job's points, or all of them down-sampled."""
        ...

    async def checkpoints(self, job_id: str, asked: OneJobAsked) -> CheckpointList:
        """Return the listed checkpoints of a job."""
        ...

    async def best(self, job_id: str, asked: OneJobAsked) -> BestAnswer:
        """Return the best checkpoint of a job, or why there is none."""
        ...

    async def job_events(self, job_id: str, asked: EventsOfJobAsked) -> EventList:
        """Return a page of a job's events."""
        ...

    async def events(self, asked: EventsAsked) -> EventList:
        """Return a page of events, in commit order."""
        ...

    async def event(self, event_id: str) -> bytes:
        """Return the body of one event."""
        ...

    async def plugins(self) -> PluginList:
        """Return the configured plugins and how they are."""
        ...

    async def sources(self) -> SourceList:
        """Return the sources and how they are."""
        ...

    async def schemas(self) -> SchemaList:
        """Return the JSON Schema of every event type."""
        ...

    async def deliveries(self, asked: DeliveriesAsked) -> DeliveryList:
        """Return a page of attempts to deliver, newest first."""
        ...

    async def delivery(self, delivery_id: str) -> DeliveryAnswer:
        """Return one attempt to deliver."""
        ...

    async def dead_letters(self, asked: DeadLettersAsked) -> DeadLetterList:
        """Return a page of dead letters, newest first."""
        ...

    async def redeliveries(self, asked: RedeliveriesAsked) -> RedeliveryList:
        """Return what was asked to be delivered again, newest first."""
        ...

    async def redelivery(self, redelivery_id: str) -> RedeliveryAnswer:
        """Return what became of a redelivery so far."""
        ...

    async def audit(self, asked: AuditAsked) -> AuditList:
        """Return a page of what people had done, newest first."""
        ...

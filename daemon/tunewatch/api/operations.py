"""Everything that can be asked, in one table: paths, parameters, answers.

The routes of the server, its OpenAPI document and the client of the command line come
from here, so that none of them can know another API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from tunewatch.api import answers, answers_deliveries, asked, asked_deliveries
from tunewatch.api.acting import Acting
from tunewatch.api.reading import Reading

ROOT = "/api/v1"

Ask: TypeAlias = Callable[[Reading, str, Any], Awaitable[Any]]
"""Who answers, the one it is about, and the question."""
Act: TypeAlias = Callable[[Acting, str, Any, Any], Awaitable[Any]]
"""Who does it, the one it is about, the parameters and the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing to ask for."""

    name: str
    path: str  #: below `ROOT`; `{id}` names the one it is about
    about: str
    asked: type[Struct]
    answer: type[Struct]
    ask: Ask
    is_of_job: bool = False  #: what it answers changes only with a job's version


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """Something to ask for whose answer is no type of ours."""

    name: Literal["event", "stream", "openapi"]
    path: str
    about: str
    asked: type[Struct]
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to ask to be done: a POST."""

    name: str
    path: str
    about: str
    asked: type[Struct]
    body: type[Struct]
    answer: type[Struct]
    act: Act


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_jobs",
        path="/jobs",
        about="jobs, newest first, by filters",
        asked=asked.JobsAsked,
        answer=answers.JobList,
        ask=lambda reading, _id, asked: reading.jobs(asked),
    ),
    Operation(
        name="get_job",
        path="/jobs/{id}",
        about="one job; `source` says which, if two sources know a job of that id",
        asked=asked.OneJobAsked,
        answer=answers.JobAnswer,
        ask=lambda reading, job_id, asked: reading.job(job_id, asked),
        is_of_job=True,
    ),
    Operation(
        name="list_points",
        path="/jobs/{id}/points",
        about="its metric points, all or down-sampled",
        asked=asked.PointsAsked,
        answer=answers.PointList,
        ask=lambda reading, job_id, asked: reading.points(job_id, asked),
        is_of_job=True,
    ),
    Operation(
        name="list_checkpoints",
        path="/jobs/{id}/checkpoints",
        about="its checkpoints, by step",
        asked=asked.OneJobAsked,
        answer=answers.CheckpointList,
        ask=lambda reading, job_id, asked: reading.checkpoints(job_id, asked),
        is_of_job=True,
    ),
    Operation(
        name="get_best",
        path="/jobs/{id}/best",
        about="its best checkpoint, or null and the reason",
        asked=asked.OneJobAsked,
        answer=answers.BestAnswer,
        ask=lambda reading, job_id, asked: reading.best(job_id, asked),
        is_of_job=True,
    ),
    Operation(
        name="list_events_of_job",
        path="/jobs/{id}/events",
        about="its events, oldest first",
        asked=asked.EventsOfJobAsked,
        answer=answers.EventList,
        ask=lambda reading, job_id, asked: reading.job_events(job_id, asked),
    ),
    Operation(
        name="list_events",
        path="/events",
        about="events, oldest first, by filters",
        asked=asked.EventsAsked,
        answer=answers.EventList,
        ask=lambda reading, _id, asked: reading.events(asked),
    ),
    Operation(
        name="list_sources",
        path="/sources",
        about="the sources and how they are",
        asked=asked.Nothing,
        answer=answers.SourceList,
        ask=lambda reading, _id, _asked: reading.sources(),
    ),
    Operation(
        name="list_plugins",
        path="/plugins",
        about="the configured plugins and how they are",
        asked=asked.Nothing,
        answer=answers.PluginList,
        ask=lambda reading, _id, _asked: reading.plugins(),
    ),
    Operation(
        name="list_deliveries",
        path="/deliveries",
        about="attempts to deliver and what came of them, newest first",
        asked=asked_deliveries.DeliveriesAsked,
        answer=answers_deliveries.DeliveryList,
        ask=lambda reading, _id, asked: reading.deliveries(asked),
    ),
    Operation(
        name="get_delivery",
        path="/deliveries/{id}",
        about="one attempt",
        asked=asked.Nothing,
        answer=answers_deliveries.DeliveryAnswer,
        ask=lambda reading, delivery_id, _asked: reading.delivery(delivery_id),
    ),
    Operation(
        name="list_dead_letters",
        path="/dead_letters",
        about="what plugins did not get, newest first",
        asked=asked_deliveries.DeadLettersAsked,
        answer=answers_deliveries.DeadLetterList,
        ask=lambda reading, _id, asked: reading.dead_letters(asked),
    ),
    Operation(
        name="list_redeliveries",
        path="/redeliveries",
        about="what was asked to be delivered again, newest first",
        asked=asked_deliveries.RedeliveriesAsked,
        answer=answers_deliveries.RedeliveryList,
        ask=lambda reading, _id, asked: reading.redeliveries(asked),
    ),
    Operation(
        name="get_redelivery",
        path="/redeliveries/{id}",
        about="what became of it so far",
        asked=asked.Nothing,
        answer=answers_deliveries.RedeliveryAnswer,
        ask=lambda reading, redelivery_id, _asked: reading.redelivery(redelivery_id),
    ),
    Operation(
        name="list_audit",
        path="/audit",
        about="who had what done, newest first",
        asked=asked_deliveries.AuditAsked,
        answer=answers_deliveries.AuditList,
        ask=lambda reading, _id, asked: reading.audit(asked),
    ),
    Operation(
        name="list_schemas",
        path="/schemas",
        about="the JSON Schema of every event type",
        asked=asked.Nothing,
        answer=answers.SchemaList,
        ask=lambda reading, _id, _asked: reading.schemas(),
    ),
)

ACTIONS: tuple[Action, ...] = (
    Action(
        name="redeliver_delivery",
        path="/deliveries/{id}/redeliver",
        about="deliver that event to that plugin again, with the same id and bytes",
        asked=asked.Nothing,
        body=asked_deliveries.DryRunBody,
        answer=answers_deliveries.PlanAnswer,
        act=lambda acting, delivery_id, _asked, body: acting.redeliver_one(
            delivery_id, body
        ),
    ),
    Action(
        name="redeliver",
        path="/redeliver",
        about="deliver events, dead letters or a range again; `dry_run` only says what",
        asked=asked.Nothing,
        body=asked_deliveries.RedeliverBody,
        answer=answers_deliveries.PlanAnswer,
        act=lambda acting, _id, _asked, body: acting.redeliver(body),
    ),
    Action(
        name="cancel_redelivery",
        path="/redeliveries/{id}/cancel",
        about="take back what has not gone out of it",
        asked=asked.Nothing,
        body=asked_deliveries.NoBody,
        answer=answers_deliveries.RedeliveryAnswer,
        act=lambda acting, redelivery_id, _asked, _body: acting.cancel(redelivery_id),
    ),
    Action(
        name="look_at_job",
        path="/jobs/{id}/look",
        about="look at a job now",
        asked=asked.OneJobAsked,
        body=asked_deliveries.NoBody,
        answer=answers_deliveries.RequestAnswer,
        act=lambda acting, job_id, asked, _body: acting.look(job_id, asked),
    ),
    Action(
        name="pause_plugin",
        path="/plugins/{id}/pause",
        about="hold back deliveries to a plugin; nothing is lost",
        asked=asked.Nothing,
        body=asked_deliveries.PauseBody,
        answer=answers_deliveries.RequestAnswer,
        act=lambda acting, name, _asked, body: acting.pause(name, body),
    ),
    Action(
        name="resume_plugin",
        path="/plugins/{id}/resume",
        about="let deliveries to a paused plugin go on",
        asked=asked.Nothing,
        body=asked_deliveries.NoBody,
        answer=answers_deliveries.RequestAnswer,
        act=lambda acting, name, _asked, _body: acting.resume(name),
    ),
)

SPECIAL: tuple[Special, ...] = (
    Special(
        name="event",
        path="/events/{id}",
        about="one event, byte for byte as it was delivered",
        asked=asked.Nothing,
        content_type="application/json",
    ),
    Special(
        name="stream",
        path="/events/stream",
        about="events as they are committed (server-sent events)",
        asked=asked.StreamAsked,
        content_type="text/event-stream",
    ),
    Special(
        name="openapi",
        path="/openapi.json",
        about="this API as an OpenAPI 3.1 document",
        asked=asked.Nothing,
        content_type="application/json",
    ),
)

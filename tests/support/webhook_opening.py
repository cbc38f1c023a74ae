"""A webhook as the host opens it: its table checked, its context lent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import LogCapture

from tunewatch.events import Common, Event, JobStatusChanged, encode
from tunewatch.plugin import Context, Delivery, JobReader, Pause, Receipt, Retry
from tunewatch.settings import Place, checked
from tunewatch_plugins.webhook import PLUGIN, WebhookSettings
from tunewatch_plugins.webhook.sink import Webhook, open_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDdwbCkj2TdFk="


Outcome: TypeAlias = Receipt | Retry | Pause
"""What comes of a delivery."""


class Nobody:
    """A reader of jobs that a webhook never asks."""


@dataclass(slots=True)
class Time:
    """A wall clock that its test owns."""

    seconds: float = 1_763_600_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Lent:
    """What a webhook is lent, and what it said."""

    clock: Any = field(default_factory=Time)
    log: LogCapture = field(default_factory=LogCapture)
    timeout: float = 15.0

    def context(self) -> Context:
        return Context(
            name="ops",
            log=structlog.wrap_logger(None, processors=[self.log]),
            state_dir=Path("/nonexistent"),
            jobs=cast("JobReader", Nobody()),
            clock=self.clock,
            registry=CollectorRegistry(),
            timeout=self.timeout,
        )


def settled(
    table: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[WebhookSettings | None, list[str]]:
    """Return the settings of a table, or every mistake in it."""
    place = Place(prefix=("plugins", "ops"), environ=environ or {}, origin="a.toml")
    settings, mistakes = checked(PLUGIN.settings, table, place)
    return settings, [str(mistake) for mistake in mistakes]


@asynccontextmanager
async def opened(
    table: Mapping[str, Any],
    *,
    lent: Lent | None = None,
) -> AsyncIterator[Webhook]:
    """Open a webhook with these settings; a secret and localhost unless they say."""
    whole = {"secret": SECRET, "allow_hosts": ["localhost"], **table}
    if any(key.startswith("secret_") for key in table):
        del whole["secret"]
    settings, mistakes = settled(whole)
    assert settings is not None, mistakes
    context = (lent or Lent()).context()
    async with open_webhook(settings, context) as webhook:
        yield webhook


def event(number: int = 1, *, status: str = "succeeded") -> Event:
    job = {"object": "fine_tuning.job", "id": f"ftjob-{number}", "status": status}
    return Event(
        id=f"evt_{number:032x}",
        type=f"fine_tuning.job.{status}",
        created_at=1_723_208_013,
        common=Common(
            id=f"ftjob-{number}",
            source="research",
            realm="openai",
            status=status,
            sequence=number,
            observed_at="2024-08-09T12:53:34Z",
        ),
        payload=JobStatusChanged(job=job, previous_status="running"),
    )


def delivery(number: int = 1, *, body: bytes | None = None) -> Delivery:
    happened = event(number)
    return Delivery(event=happened, body=encode(happened) if body is None else body)


async def outcome_of(webhook: Webhook, sent: Delivery | None = None) -> Outcome:
    """Deliver once and return what comes of it."""
    try:
        return await webhook.deliver(sent or delivery())
    except (Retry, Pause) as refused:
        return refused


def kept(outcome: Outcome) -> Receipt | None:
    """Return what the delivery log would keep of the receiver's answer."""
    return outcome if isinstance(outcome, Receipt) else outcome.receipt

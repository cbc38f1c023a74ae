"""Try the way to each receiver: one event that says that it is a test.

It is of a type of its own, so that no receiver takes it for something that happened. A
running daemon knows nothing of it: nothing is kept, no cursor moves.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import CollectorRegistry

from tunewatch.app.discreet import Clear, clearing
from tunewatch.clock import SystemClock
from tunewatch.config import Settings
from tunewatch.events import Common, Event, ReceiverTried, encode, iso
from tunewatch.host import Instance, instances
from tunewatch.model import Snapshot
from tunewatch.plugin import Context, Count, Delivery, JobRow, Refusal, WindowPart
from tunewatch.telemetry import Redactor

OPENING = 30.0
"""s a plugin may take to open."""
WORDS = (
    "This is a test of tunewatch: `check --send-test` was called. Nothing has happened."
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the test event at one plugin."""

    plugin: str
    is_well: bool
    found: str


async def try_receivers(settings: Settings) -> list[Tried]:
    """Send one test event to every plugin that takes events; return what came of it."""
    clear = clearing(Redactor(settings.secrets()))
    with TemporaryDirectory(prefix="tunewatch-check-") as directory:
        return [
            await _try(instance, Path(directory), clear)
            for instance in instances(settings)
        ]


async def _try(instance: Instance, directory: Path, clear: Clear) -> Tried:
    state = directory / instance.name
    state.mkdir(mode=0o700)
    try:
        found = await _sent(instance, _context(instance, state), clear)
    except Refusal as refusal:
        return Tried(instance.name, is_well=False, found=clear(refusal.reason))
    except TimeoutError:
        reason = f"no answer within {instance.timeout:g} s"
        return Tried(instance.name, is_well=False, found=reason)
    except Exception as error:  # noqa: BLE001 - plugin code: whatever it raises
        reason = clear(f"{type(error).__name__}: {error}")
        return Tried(instance.name, is_well=False, found=reason)
    return Tried(instance.name, is_well=True, found=found)


async def _sent(instance: Instance, context: Context, clear: Clear) -> str:
    delivery = sample_delivery()
    async with asyncio.timeout(OPENING) as opening:
        async with instance.plugin.open(instance.settings, context) as opened:
            if not hasattr(opened, "deliver"):
                return "takes no events from here: nothing to send"
            opening.reschedule(None)
            async with asyncio.timeout(instance.timeout):
                receipt = await opened.deliver(delivery)
    said = "" if receipt is None or receipt.status is None else f": {receipt.status}"
    answer = "" if receipt is None else clear(receipt.answer.strip())
    return f"took {delivery.event.id}{said}" + (f" ({answer})" if answer else "")


def sample_delivery() -> Delivery:
    """Return the test event, another one at each call."""
    now = time.time()
    event = Event(
        id=f"evt_{uuid.uuid4().hex}",
        type=ReceiverTried.TYPE,
        created_at=int(now),
        common=Common(
            id="check",
            source="check",
            realm="check",
            status=None,
            sequence=int(now * 1000),
            observed_at=iso(now),
        ),
        payload=ReceiverTried(message=WORDS),
    )
    return Delivery(event=event, body=encode(event))


def _context(instance: Instance, directory: Path) -> Context:
    return Context(
        name=instance.name,
        log=structlog.get_logger("plugin").bind(plugin=instance.name),
        state_dir=directory,
        jobs=_NoJobs(),
        clock=SystemClock(),
        registry=CollectorRegistry(),
        timeout=instance.timeout,
    )


class _NoJobs:
    """A `JobReader` that knows no job."""

    async def snapshot(self, source: str, job_id: str) -> Snapshot | None:  # noqa: ARG002
        """See `plugin.JobReader`."""
        return None

    async def window(
        self,
        *,
        finished_within: float,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Sequence[JobRow]:
        """See `plugin.JobReader`."""
        return ()

    async def window_parts(
        self,
        *,
        finished_within: float,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> AsyncIterator[WindowPart]:
        """See `plugin.JobReader`."""
        yield WindowPart((), {})

    async def sources(self) -> Sequence[str]:
        """See `plugin.JobReader`."""
        return ()

    async def counts(self) -> Sequence[Count]:
        """See `plugin.JobReader`."""
        return ()

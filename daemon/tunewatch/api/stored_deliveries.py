"""The store as who answers: questions about deliveries and what was asked for.

Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from tunewatch.api.answers_deliveries import (
    AuditAnswer,
    AuditList,
    DeadLetterAnswer,
    DeadLetterList,
    DeliveryAnswer,
    DeliveryList,
    RedeliveryAnswer,
    RedeliveryList,
)
from tunewatch.api.asked_deliveries import (
    AuditAsked,
    DeadLettersAsked,
    DeliveriesAsked,
    RedeliveriesAsked,
)
from tunewatch.api.faults import NotThere
from tunewatch.api.stored_events import StoredEvents
from tunewatch.store.deliveries import OUTCOMES, Attempted
from tunewatch.store.reads import Reader
from tunewatch.store.redelivering import Progress, Redeliver

ItemT = TypeVar(
    "ItemT", DeliveryAnswer, DeadLetterAnswer, RedeliveryAnswer, AuditAnswer
)
LARGEST = 2**62
"""Of ids."""


class StoredDeliveries(StoredEvents):
    """The part of `Reading` that is about deliveries, beside the others."""

    def __init__(self, reads: Reader, redeliver: Redeliver) -> None:
        super().__init__(reads)
        self._redeliver = redeliver

    async def deliveries(self, asked: DeliveriesAsked) -> DeliveryList:
        """See `Reading.deliveries`."""
        found = await self.reads.deliveries.attempts(
            plugin=asked.plugin,
            source=asked.source,
            job_id=asked.job,
            event_id=asked.event,
            outcomes=_meant(asked.outcome),
            redelivery=asked.redelivery,
            since=asked.since,
            until=asked.before,
            limit=asked.limit + 1,
            after=asked.after,
        )
        some = [_delivery(one) for one in found]
        data, following = _page(some, asked.limit)
        return DeliveryList(data=data, has_more=following is not None, next=following)

    async def delivery(self, delivery_id: str) -> DeliveryAnswer:
        """See `Reading.delivery`."""
        wanted = _number(delivery_id, "delivery")
        found = await self.reads.deliveries.attempts(after=wanted + 1, limit=1)
        if not found or found[0].id != wanted:
            raise NotThere(
                f"there is no delivery {delivery_id}, or it is not in the log any more"
            )
        return _delivery(found[0])

    async def dead_letters(self, asked: DeadLettersAsked) -> DeadLetterList:
        """See `Reading.dead_letters`."""
        found = await self.reads.deliveries.dead_letters(
            plugin=asked.plugin,
            source=asked.source,
            job_id=asked.job,
            only_open=not asked.closed,
            since=asked.since,
            until=asked.before,
            limit=asked.limit + 1,
            after=asked.after,
        )
        some = [DeadLetterAnswer(**one._asdict()) for one in found]
        data, following = _page(some, asked.limit)
        return DeadLetterList(data=data, has_more=following is not None, next=following)

    async def redeliveries(self, asked: RedeliveriesAsked) -> RedeliveryList:
        """See `Reading.redeliveries`."""
        found = await self._redeliver.recent(limit=asked.limit + 1, after=asked.after)
        data, following = _page([_redelivery(one) for one in found], asked.limit)
        return RedeliveryList(data=data, has_more=following is not None, next=following)

    async def audit(self, asked: AuditAsked) -> AuditList:
        """See `Reading.audit`."""
        found = await self.reads.audit.rows(
            by=asked.by,
            what=asked.what,
            about=asked.about,
            since=asked.since,
            until=asked.before,
            limit=asked.limit + 1,
            after=asked.after,
        )
        some = [AuditAnswer(**one._asdict()) for one in found]
        data, following = _page(some, asked.limit)
        return AuditList(data=data, has_more=following is not None, next=following)

    async def redelivery(self, redelivery_id: str) -> RedeliveryAnswer:
        """See `Reading.redelivery`."""
        wanted = _number(redelivery_id, "redelivery")
        found = await self._redeliver.progress(wanted)
        if found is None:
            raise NotThere(f"there is no redelivery {redelivery_id}")
        return _redelivery(found)


def _meant(outcomes: Sequence[str]) -> list[str] | None:
    if not outcomes:
        return None
    failed = OUTCOMES[1:] if "failed" in outcomes else ()
    return sorted({*outcomes, *failed} - {"failed"})


def _number(text: str, what: str) -> int:
    """Return an id from a path. Raises NotThere if it can be none."""
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > LARGEST:
        raise NotThere(f"there is no {what} {text}: ids are numbers")
    return int(text)


def _page(found: Sequence[ItemT], limit: int) -> tuple[tuple[ItemT, ...], str | None]:
    """Return a page of what was read one more of, and where it goes on."""
    data = tuple(found[:limit])
    return data, str(data[-1].id) if len(found) > limit else None


def _delivery(one: Attempted) -> DeliveryAnswer:
    return DeliveryAnswer(**one._asdict())


def _redelivery(one: Progress) -> RedeliveryAnswer:
    fields = one._asdict()
    asked = msgspec.to_builtins(fields.pop("selection"))
    return RedeliveryAnswer(**fields, asked=asked)

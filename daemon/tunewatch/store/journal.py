"""Commit what was observed, and tell listeners what was committed.

Knows transactions and their outcomes; what an observation changes is `commit`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection

from tunewatch.diff import Observation
from tunewatch.events import SourceDown, SourceUp
from tunewatch.model import Job
from tunewatch.plugin import Clock
from tunewatch.store.carrier import Carrier
from tunewatch.store.commit import Owed, commit_observations
from tunewatch.store.derived import append_derived
from tunewatch.store.leases import fence
from tunewatch.store.missed import events_after, newest_position
from tunewatch.store.outages import tell_outage
from tunewatch.store.records import (
    Committed,
    EventRef,
    Fence,
    JobFault,
    StoreFault,
    StoreUnavailable,
)

__all__ = ["Journal", "Listener", "append_derived"]

T = TypeVar("T")
Listener = Callable[[Sequence[EventRef]], None]

log = structlog.get_logger(__name__)


class Journal:
    """The events of all sources, in one order."""

    def __init__(self, carrier: Carrier, *, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock
        self._listeners: list[Listener] = []
        self._listeners_of: defaultdict[int, list[Listener]] = defaultdict(list)
        self._failing: set[str] = set()
        self._announced: dict[int, int] = {}
        self._doubtful: set[int] = set()

    def listen(
        self, callback: Listener, *, source_id: int | None = None
    ) -> Callable[[], None]:
        """Call back on the event loop with committed events, in position order.

        With those of one source if it is named. An event may be announced twice after
        a commit of unknown outcome, never not at all. Call what is returned to hear no
        more.
        """
        everybody = self._listeners
        those = everybody if source_id is None else self._listeners_of[source_id]
        those.append(callback)
        return lambda: those.remove(callback)

    def announce(self, refs: Sequence[EventRef]) -> None:
        """Tell the listeners of events whose transaction has been committed."""
        if not refs:
            return
        by_source: defaultdict[int, list[EventRef]] = defaultdict(list)
        for ref in refs:
            by_source[ref.source_id].append(ref)
        for source_id, theirs in by_source.items():
            newest = max(ref.position for ref in theirs)
            known = self._announced.get(source_id, 0)
            self._announced[source_id] = max(known, newest)
        for listener in tuple(self._listeners):
            listener(refs)
        for source_id, theirs in by_source.items():
            for listener in tuple(self._listeners_of.get(source_id, ())):
                listener(theirs)

    async def commit(
        self,
        held: Fence,
        observations: Sequence[Observation],
        *,
        decode: Callable[[bytes], Job],
    ) -> list[Committed | JobFault]:
        """Commit observations of a source's jobs and return what became of each.

        All go into one transaction. If that fails by one of them, each is tried alone,
        and those that fail again come back as JobFault. Raises LeaseLost, or
        StoreUnavailable: then nothing is sure and the same call may be made again.
        """
        if not observations:
            return []
        try:
            owed = [Owed(held, seen, decode) for seen in observations]
            commit = _Commit(self, owed, self._clock)
            done: list[Committed] = await self._write(held, commit)
        except StoreFault:
            raise
        except Exception as error:  # noqa: BLE001 - becomes a JobFault of the guilty
            return await self._one_by_one(held, observations, decode, error)
        self._recovered(done)
        return list(done)

    async def _one_by_one(
        self,
        held: Fence,
        observations: Sequence[Observation],
        decode: Callable[[bytes], Job],
        error: Exception,
    ) -> list[Committed | JobFault]:
        if len(observations) == 1:
            return [self._fault(observations[0], error)]
        outcomes: list[Committed | JobFault] = []
        for seen in observations:
            outcomes += await self.commit(held, [seen], decode=decode)
        return outcomes

    def _fault(self, seen: Observation, error: Exception) -> JobFault:
        reason = f"{type(error).__name__}: {error}"
        if seen.job_id not in self._failing:
            self._failing.add(seen.job_id)
            log.error("store.job_failed", job_id=seen.job_id, exc_info=error)
        return JobFault(job_id=seen.job_id, reason=reason)

    def _recovered(self, done: Sequence[Committed]) -> None:
        for one in done:
            if one.job_id in self._failing:
                self._failing.discard(one.job_id)
                log.info("store.job_recovered", job_id=one.job_id)

    async def source_event(
        self, held: Fence, payload: SourceDown | SourceUp
    ) -> list[EventRef]:
        """Tell that a source is down, or up again; a repetition tells nothing.

        Raises LeaseLost, StoreFault.
        """

        def transaction(connection: Connection) -> _Outcome[list[EventRef]]:
            missed = self.missed(connection, held)
            told = tell_outage(connection, held, payload, self._clock.now())
            return _Outcome(told, [*missed, *told])

        return await self._write(held, transaction)

    async def _write(
        self, held: Fence, transaction: Callable[[Connection], _Outcome[T]]
    ) -> T:
        def committed(outcome: _Outcome[T]) -> None:
            self._doubtful.discard(held.source_id)
            self.announce(outcome.events)

        try:
            outcome = await self._carrier.write(transaction, committed=committed)
        except StoreUnavailable:
            self.doubt(held.source_id)
            raise
        return outcome.result

    def doubt(self, source_id: int) -> None:
        """Note that a commit for a source may have happened without being told."""
        self._doubtful.add(source_id)

    def is_doubtful(self, source_id: int) -> bool:
        """Whether events of a source may be committed that nobody was told of yet."""
        return source_id in self._doubtful

    def missed(self, connection: Connection, held: Fence) -> list[EventRef]:
        """Return events that may have been committed without anybody being told.

        A commit of unknown outcome leaves such. They are looked up in the source's next
        transaction and told with its own. Raises LeaseLost.
        """
        source_id = held.source_id
        if source_id not in self._announced:
            fence(connection, held)
            newest = newest_position(connection, source_id)
            self._announced.setdefault(source_id, newest)
        elif source_id in self._doubtful:
            fence(connection, held)
            return events_after(connection, source_id, self._announced[source_id])
        return []


class _Outcome(NamedTuple, Generic[T]):
    """What the caller gets, and what the listeners are told."""

    result: T
    events: list[EventRef]


@dataclass(frozen=True, slots=True, eq=False)
class _Commit:
    """The transaction of one call; calls, also those of other sources, are one."""

    journal: Journal
    owed: Sequence[Owed]
    clock: Clock

    @property
    def kind(self) -> Hashable:
        return self.journal

    def __call__(self, connection: Connection) -> _Outcome[list[Committed]]:
        [outcome] = self.together(connection, [self])
        return outcome

    def together(
        self, connection: Connection, every: Sequence[_Commit]
    ) -> list[_Outcome[list[Committed]]]:
        owed = [one for commit in every for one in commit.owed]
        fences = {one.held for one in owed}
        missed = {
            held.source_id: self.journal.missed(connection, held)
            for held in sorted(fences)
        }
        done = iter(commit_observations(connection, owed, self.clock.now()))
        outcomes: list[_Outcome[list[Committed]]] = []
        for commit in every:
            part = list(islice(done, len(commit.owed)))
            # With the first call of their source, and not again.
            late = missed.pop(commit.owed[0].held.source_id, [])
            outcomes.append(_Outcome(part, [*late, *_events(part)]))
        return outcomes


def _events(done: Sequence[Committed]) -> list[EventRef]:
    return sorted(ref for one in done for ref in one.events)

"""The one transaction of observations: state before, diff, state after, events.

Reads and writes for all observations at once; the diff between is pure. Knows no
provider: the caller hands in how a raw item is decoded. Announces nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from sqlalchemy import Connection

from tunewatch.diff import NEW, Known, Observation
from tunewatch.store import kept as rows
from tunewatch.store.before import Kept, state_before
from tunewatch.store.comparing import Decode, Look, compare
from tunewatch.store.counters import Growth
from tunewatch.store.facts import known_facts, write_facts
from tunewatch.store.kept import Changed
from tunewatch.store.leases import Holder
from tunewatch.store.records import Committed, EventRef, Fence
from tunewatch.store.stamping import About, Draft, append, drafts
from tunewatch.store.statements import Batch
from tunewatch.store.totals import count

_NOTHING_KNOWN = Known()


def commit_observations(
    connection: Connection,
    held: Fence,
    observations: Sequence[Observation],
    decode: Decode,
    now: float,
) -> list[Committed]:
    """Commit observations of one source's jobs, in the order given.

    Raises LeaseLost, and whatever decoding or comparing one of them raises.
    """
    done: dict[int, Committed] = {}
    for group in _rounds(observations):
        wanted = {seen.job_id: [e.id for e in seen.entries] for _, seen in group}
        holder, own = state_before(connection, held, wanted)
        done.update(_Round(connection, held, holder, own, decode, now).run(group))
    return [done[index] for index in range(len(observations))]


def _rounds(
    observations: Sequence[Observation],
) -> Iterator[list[tuple[int, Observation]]]:
    """Yield groups in which no job comes twice: each look builds on the one before."""
    waiting = list(enumerate(observations))
    while waiting:
        group: dict[str, tuple[int, Observation]] = {}
        later = []
        for index, seen in waiting:
            if seen.job_id in group:
                later.append((index, seen))
            else:
                group[seen.job_id] = (index, seen)
        yield list(group.values())
        waiting = later


class _Round:
    """The working state of one group of observations, each of another job."""

    def __init__(  # noqa: PLR0917 - what a transaction consists of
        self,
        connection: Connection,
        held: Fence,
        holder: Holder,
        own: dict[str, Kept],
        decode: Decode,
        now: float,
    ) -> None:
        self.connection = connection
        self.held = held
        self.holder = holder
        self.own = own
        self.decode = decode
        self.now = now

    def run(self, group: list[tuple[int, Observation]]) -> dict[int, Committed]:
        own = self.own
        done = self._not_ours(group)
        looks: dict[int, Look] = {}
        facts = known_facts(
            self.connection,
            [(own[s.job_id], s) for _, s in group if s.job_id in own],
        )
        for index, seen in group:
            before = own.get(seen.job_id)
            if index in done:
                continue
            if before is not None and self._is_stale(before, seen):
                done[index] = self._untouched(seen, before, "stale")
                continue
            known = facts[before.key] if before is not None else _NOTHING_KNOWN
            looks[index] = compare(seen, before, known, self.decode, self.now)
        events = self._write(list(looks.values()))
        for index, look in looks.items():
            done[index] = _committed(look, events.get(look.key, ()))
        return done

    def _not_ours(self, group: list[tuple[int, Observation]]) -> dict[int, Committed]:
        missing = [seen.job_id for _, seen in group if seen.job_id not in self.own]
        if not missing:
            return {}
        realm = self.holder.realm
        foreign = rows.foreign_jobs(
            self.connection, self.held.source_id, realm, missing
        )
        buried = rows.buried_jobs(self.connection, realm, missing)
        done: dict[int, Committed] = {}
        for index, seen in group:
            if seen.job_id in foreign:
                owner = foreign[seen.job_id]
                done[index] = self._untouched(seen, None, "foreign", owner)
            elif seen.job_id in buried:
                done[index] = self._untouched(seen, None, "tombstone")
        return done

    def _is_stale(self, before: Kept, seen: Observation) -> bool:
        if before.term != self.held.token:
            return before.term > self.held.token
        return seen.look < before.look

    def _untouched(
        self,
        seen: Observation,
        before: Kept | None,
        outcome: Literal["stale", "foreign", "tombstone"],
        owner: str | None = None,
    ) -> Committed:
        return Committed(
            job_id=seen.job_id,
            job_key=before.key if before else 0,
            outcome=outcome,
            changed=False,
            absent=frozenset(),
            events=(),
            job=self.decode(before.raw) if before else None,
            state=before.state if before else NEW,
            owner=owner,
        )

    def _write(self, looks: Sequence[Look]) -> dict[int, list[EventRef]]:
        """Write all that changed, the position last; return the events by job key."""
        changed = [(look, look.changed) for look in looks if look.changed is not None]
        new = {look.seen.job_id: row for look, row in changed if look.before is None}
        made = rows.insert_jobs(self.connection, self.held, self.holder.realm, new)
        for look, _ in changed:
            look.key = look.key or made[look.seen.job_id]
        old = {look.key: row for look, row in changed if look.before is not None}
        batch = Batch(self.connection)
        rows.update_jobs(batch, self.held, old)
        still = {look.key: look.seen.look for look in looks if not look.changed}
        still.pop(0, None)
        rows.note_looks(batch, self.held, still)
        write_facts(batch, [(look.key, look.delta) for look, _ in changed])
        return self._tell(batch, changed)

    def _tell(
        self, batch: Batch, changed: Sequence[tuple[Look, Changed]]
    ) -> dict[int, list[EventRef]]:
        growth = Growth(self.connection, self.held.source_id)
        told: list[Draft] = []
        for look, row in changed:
            state = look.before.state if look.before else NEW
            since = self.holder.first_contact_at
            count(growth, look.delta, row.job, before=state, since=since)
            last = look.before.sequence if look.before else 0
            made, _ = drafts(look.delta.happenings, self._about(look, row), last)
            told += made
        growth.write(batch)
        events: dict[int, list[EventRef]] = {}
        for ref in append(self.connection, batch, told):
            events.setdefault(ref.job_key, []).append(ref)
        return events

    def _about(self, look: Look, row: Changed) -> About:
        return About(
            source_id=self.held.source_id,
            job_key=look.key,
            source=self.holder.name,
            realm=self.holder.realm,
            owner=look.seen.job_id,
            status=row.job.status,
            metadata=rows.metadata_of(row.job),
            backfilled=look.delta.backfilled,
            now=self.now,
        )


def _committed(look: Look, events: Sequence[EventRef]) -> Committed:
    return Committed(
        job_id=look.seen.job_id,
        job_key=look.key,
        outcome="unconfirmed" if look.delta.unconfirmed else "committed",
        changed=look.delta.changed,
        absent=look.delta.absent,
        events=tuple(events),
        job=look.job,
        state=look.delta.after,
    )

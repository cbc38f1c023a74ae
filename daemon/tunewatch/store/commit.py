"""The one transaction of observations: state before, diff, state after, events.

Reads and writes for all observations at once, whichever sources made them; the diff
between is pure. Knows no provider: the caller hands in how a raw item is decoded.
Announces nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from tunewatch.diff import NEW, Known, Observation
from tunewatch.store import kept as rows
from tunewatch.store.before import Before, Kept, state_before
from tunewatch.store.comparing import Decode, Look, compare
from tunewatch.store.counters import Growth
from tunewatch.store.facts import known_facts, write_facts
from tunewatch.store.kept import Changed
from tunewatch.store.leases import Holder
from tunewatch.store.records import Committed, EventRef, Fence
from tunewatch.store.stamping import About, Draft, append, drafts
from tunewatch.store.statements import Batch
from tunewatch.store.totals import count
from tunewatch.store.wanted import Wanted

_NOTHING_KNOWN = Known()


class Owed(NamedTuple):
    """An observation of a source's job, and the right to write for that source."""

    held: Fence
    seen: Observation
    decode: Decode


def commit_observations(
    connection: Connection, owed: Sequence[Owed], now: float
) -> list[Committed]:
    """Commit observations of any sources' jobs, in the order given.

    Raises LeaseLost, and whatever decoding or comparing one of them raises.
    """
    done: dict[int, Committed] = {}
    for group in _rounds(owed):
        wanted = [
            Wanted(one.held, one.seen.job_id, frozenset(e.id for e in one.seen.entries))
            for _, one in group
        ]
        before = state_before(connection, wanted)
        done.update(_Round(connection, before, now).run(group))
    return [done[index] for index in range(len(owed))]


def _rounds(owed: Sequence[Owed]) -> Iterator[list[tuple[int, Owed]]]:
    """Yield groups in which no job comes twice: each look builds on the one before.

    Nor does an id, whichever source saw it: two keys of one project see the same job,
    and who is first has it.
    """
    waiting = list(enumerate(owed))
    while waiting:
        group: dict[str, tuple[int, Owed]] = {}
        later = []
        for index, one in waiting:
            if one.seen.job_id in group:
                later.append((index, one))
            else:
                group[one.seen.job_id] = (index, one)
        yield list(group.values())
        waiting = later


class _Round:
    """The working state of one group of observations, each of another job."""

    def __init__(
        self, connection: Connection, before: Mapping[str, Before], now: float
    ) -> None:
        self.connection = connection
        self.before = before
        self.now = now

    def run(self, group: list[tuple[int, Owed]]) -> dict[int, Committed]:
        done = self._not_ours(group)
        looks: dict[int, Look] = {}
        facts = known_facts(
            self.connection,
            [
                (kept, one.seen)
                for _, one in group
                if (kept := self._kept(one)) is not None
            ],
        )
        for index, one in group:
            kept = self._kept(one)
            if index in done:
                continue
            if kept is not None and _is_stale(kept, one):
                done[index] = _untouched(one, kept, "stale")
                continue
            known = facts[kept.key] if kept is not None else _NOTHING_KNOWN
            looks[index] = compare(
                one.held, one.seen, kept, known, one.decode, self.now
            )
        events = self._write(list(looks.values()))
        for index, look in looks.items():
            done[index] = _committed(look, events.get(look.key, ()))
        return done

    def _kept(self, one: Owed) -> Kept | None:
        return self.before[one.seen.job_id].kept

    def _not_ours(self, group: list[tuple[int, Owed]]) -> dict[int, Committed]:
        missing: defaultdict[Fence, list[str]] = defaultdict(list)
        for _, one in group:
            if self._kept(one) is None:
                missing[one.held].append(one.seen.job_id)
        if not missing:
            return {}
        foreign: dict[str, str] = {}
        buried: set[str] = set()
        for held, ids in missing.items():
            realm = self.before[ids[0]].holder.realm
            foreign |= rows.foreign_jobs(self.connection, held.source_id, realm, ids)
            buried |= rows.buried_jobs(self.connection, realm, ids)
        done: dict[int, Committed] = {}
        for index, one in group:
            job_id = one.seen.job_id
            if job_id in foreign:
                done[index] = _untouched(one, None, "foreign", foreign[job_id])
            elif job_id in buried:
                done[index] = _untouched(one, None, "tombstone")
        return done

    def _write(self, looks: Sequence[Look]) -> dict[int, list[EventRef]]:
        """Write all that changed, the position last; return the events by job key."""
        changed = [(look, look.changed) for look in looks if look.changed is not None]
        self._insert([(look, row) for look, row in changed if look.before is None])
        batch = Batch(self.connection)
        old = {look.key: row for look, row in changed if look.before is not None}
        rows.update_jobs(batch, old)
        rows.note_looks(
            batch,
            {
                look.key: (look.held.token, look.seen.look)
                for look in looks
                if look.changed is None and look.key
            },
        )
        write_facts(batch, [(look.key, look.delta) for look, _ in changed])
        return self._tell(batch, changed)

    def _insert(self, new: Sequence[tuple[Look, Changed]]) -> None:
        """Insert the rows of new jobs, and give their looks the keys."""
        if not new:
            return
        made = rows.insert_jobs(
            self.connection,
            [
                (look.held.source_id, self._holder(look).realm, look.seen.job_id, row)
                for look, row in new
            ],
        )
        for look, _ in new:
            look.key = made[look.seen.job_id]

    def _holder(self, look: Look) -> Holder:
        return self.before[look.seen.job_id].holder

    def _tell(
        self, batch: Batch, changed: Sequence[tuple[Look, Changed]]
    ) -> dict[int, list[EventRef]]:
        growth = Growth(self.connection)
        told: list[Draft] = []
        for look, row in changed:
            holder = self._holder(look)
            state = look.before.state if look.before else NEW
            tally = growth.of(look.held.source_id)
            since = holder.first_contact_at
            count(tally, look.delta, row.job, before=state, since=since)
            last = look.before.sequence if look.before else 0
            about = self._about(look, row, holder)
            made, _ = drafts(look.delta.happenings, about, last)
            told += made
        growth.write(batch)
        events: dict[int, list[EventRef]] = {}
        for ref in append(self.connection, batch, told):
            events.setdefault(ref.job_key, []).append(ref)
        return events

    def _about(self, look: Look, row: Changed, holder: Holder) -> About:
        return About(
            source_id=look.held.source_id,
            job_key=look.key,
            source=holder.name,
            realm=holder.realm,
            owner=look.seen.job_id,
            status=row.job.status,
            metadata=rows.metadata_of(row.job),
            backfilled=look.delta.backfilled,
            now=self.now,
        )


def _is_stale(before: Kept, one: Owed) -> bool:
    if before.term != one.held.token:
        return before.term > one.held.token
    return one.seen.look < before.look


def _untouched(
    one: Owed,
    before: Kept | None,
    outcome: Literal["stale", "foreign", "tombstone"],
    owner: str | None = None,
) -> Committed:
    return Committed(
        job_id=one.seen.job_id,
        job_key=before.key if before else 0,
        outcome=outcome,
        changed=False,
        absent=frozenset(),
        events=(),
        job=one.decode(before.raw) if before else None,
        state=before.state if before else NEW,
        owner=owner,
    )


def _committed(look: Look, events: Sequence[EventRef]) -> Committed:
    return Committed(
        job_id=look.seen.job_id,
        job_key=look.key,
        outcome="unconfirmed" if look.delta.unconfirmed else "committed",
        changed=look.delta.changed,
        absent=look.delta.absent,
        events=tuple(events),
        job=None if look.seen.raw is None else look.job,
        state=look.delta.after,
    )

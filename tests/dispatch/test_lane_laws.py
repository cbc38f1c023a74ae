"""Any history of events, outcomes and kills, against the lane arithmetic alone."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tunewatch.dispatch.lane import Ordeal
from tunewatch.dispatch.track import Track

JOBS = st.integers(1, 4)


class Histories(RuleBasedStateMachine):
    """A track, the rows it writes, and a journal that knows the truth."""

    @initialize()
    def begin(self):
        self.now = 0.0
        self.position = 0
        self.journal = []  # (position, job) that are wanted
        self.mark = 0
        self.rows = {}  # job -> (cursor, is troubled)
        self.first = {}  # job -> positions in the order of their first delivery
        self.delivered = set()
        self.out = {}
        self.given_up = set()
        self.track = Track(0, 0)

    # The truth

    def next_of(self, job, after):
        found = [p for p, j in self.journal if j == job and after < p]
        return found[:3], len(found) > 3

    def pending_of(self, job):
        cursor = max(self.mark, self.rows.get(job, (0, False))[0])
        return [p for p, j in self.journal if j == job and p > cursor]

    # What may happen

    @rule(job=JOBS, gap=st.integers(1, 3))
    def a_wanted_event(self, job, gap):
        self.position += gap
        self.journal.append((self.position, job))
        self.track.arrive(job, self.position)

    @rule(gap=st.integers(1, 3))
    def an_event_of_no_interest(self, gap):
        self.position += gap
        self.track.pass_by(self.position)

    @rule()
    def one_goes_out(self):
        self.track.wake(self.now)
        lane = self.track.take()
        if lane is None:
            return
        if not lane.upcoming:
            positions, more = self.next_of(lane.key, lane.cursor)
            self.track.learn(lane, positions, more=more)
            if not positions:
                return
        position = lane.upcoming[0]
        told = self.first.setdefault(lane.key, [])
        if position not in told:
            told.append(position)
        assert lane.key not in self.out
        self.out[lane.key] = lane

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def one_is_accepted(self, data):
        job = data.draw(st.sampled_from(sorted(self.out)))
        lane = self.out.pop(job)
        self.delivered.add(lane.upcoming[0])
        self.track.clear_suspect(job)
        self.track.finish(lane)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def the_receiver_fails(self, data):
        job = data.draw(st.sampled_from(sorted(self.out)))
        self.track.clear_suspect(job)
        self.track.requeue(self.out.pop(job))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), wait=st.integers(1, 5))
    def an_event_fails(self, data, wait):
        job = data.draw(st.sampled_from(sorted(self.out)))
        self.track.clear_suspect(job)
        ordeal = Ordeal(tries=1, wait=float(wait), wait_until=self.now + wait)
        self.track.suffer(self.out.pop(job), ordeal, until=self.now + wait)

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def some_are_too_old(self):
        self.track.wake(self.now)
        for lane in [*self.track.idle_lanes()][:1]:
            cutoff = self.position - 2
            old = [p for p in self.pending_in_memory(lane) if p <= cutoff]
            if old:
                self.given_up.update(old)
                self.track.finish(lane, old[-1])
        self.a_group_is_written()  # nothing goes out before it is

    def pending_in_memory(self, lane):
        return [p for p, j in self.journal if j == lane.key and p > lane.cursor]

    @rule()
    def a_group_is_written(self):
        writing = self.track.write()
        assert writing.mark >= self.mark
        self.mark = writing.mark
        for key, change in writing.rows:
            self.rows[key] = (change.cursor, change.ordeal is not None)
        for key in writing.gone:
            self.rows.pop(key)
        if writing.sweep:
            self.rows = {
                key: (cursor, troubled)
                for key, (cursor, troubled) in self.rows.items()
                if troubled or cursor > self.mark
            }

    @rule()
    def the_process_dies(self):
        self.out.clear()
        self.track = Track(self.mark, max(self.mark, self.position))
        self.track.rows = {key: cursor for key, (cursor, _) in self.rows.items()}
        for job in {job for _, job in self.journal}:
            pending = self.pending_of(job)
            if not pending:
                continue
            cursor, troubled = self.rows.get(job, (self.mark, False))
            self.track.restore(
                job,
                max(cursor, self.mark),
                pending[:1] if len(pending) % 2 else (),
                more=len(pending) > 1 or not len(pending) % 2,
                ordeal=Ordeal(tries=1) if troubled else None,
                until=self.now + 2 if troubled else None,
            )

    # What must always hold

    @invariant()
    def nothing_that_is_written_as_finished_was_not_delivered(self):
        done = self.delivered | self.given_up
        for position, job in self.journal:
            cursor = max(self.mark, self.rows.get(job, (0, False))[0])
            assert position > cursor or position in done

    @invariant()
    def the_mark_in_memory_passes_nothing_undelivered(self):
        done = self.delivered | self.given_up
        mark = self.track.mark()
        for position, _ in self.journal:
            assert position > mark or position in done

    @invariant()
    def first_deliveries_of_a_job_are_in_order(self):
        for told in self.first.values():
            assert told == sorted(told)

    @invariant()
    def the_heap_of_floors_does_not_outgrow_the_lanes(self):
        assert len(self.track._floors) <= 2 * len(self.track.lanes) + 80

    def teardown(self):
        for _ in range(3 * len(self.journal) + 10):
            self.now += 10
            self.one_goes_out()
            for job in sorted(self.out):
                lane = self.out.pop(job)
                self.delivered.add(lane.upcoming[0])
                self.track.finish(lane)
        self.a_group_is_written()
        done = self.delivered | self.given_up
        assert {position for position, _ in self.journal} <= done
        assert self.mark == max(self.mark, self.position)
        assert self.rows == {}


Histories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
TestHistories = Histories.TestCase

"""Any history of looks, restarts and repetitions: what listeners heard is what is.

Nothing twice, nothing out of order, nothing lost; the model is a dict.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.stores import HandClock, message, metrics, open_desk, raw_job, told
from tunewatch.diff import Observation

JOBS = st.sampled_from(["a", "b", "c"])
STATUSES = st.sampled_from(["queued", "running", "paused", "succeeded", "odd word"])


class AnyHistory(RuleBasedStateMachine):
    """A store that is looked into, restarted and told the same thing again."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="tw-laws-"))
        self.clock = HandClock()
        self.stack = AsyncExitStack()
        self.heard = []
        self.told_ids: defaultdict[str, list[str]] = defaultdict(list)
        self.statuses: dict[str, str] = {}
        self.last: Observation | None = None
        self.entries = 0
        self.open()

    def open(self) -> None:
        url = f"sqlite:///{self.directory / 'state.db'}"
        entering = self.stack.enter_async_context(open_desk(url, clock=self.clock))
        self.desk = self.runner.run(entering)

    def commit(self, look: Observation) -> None:
        before = len(self.desk.heard)
        self.runner.run(self.desk.commit(look))
        self.heard += self.desk.heard[before:]

    @rule(job=JOBS, status=STATUSES, new=st.integers(0, 3), step=st.integers(0, 9))
    def look(self, job: str, status: str, new: int, step: int) -> None:
        entries = [message(self.entries + n) for n in range(new)]
        entries.append(metrics(self.entries + new, step, train_loss=0.5))
        self.entries += new + 1
        self.last = self.desk.look(
            job, raw=raw_job(job, status), entries=tuple(entries), confirmed=True
        )
        self.commit(self.last)
        self.told_ids[job] += [e.id for e in entries if e.point is None]
        self.statuses[job] = status

    @rule()
    def say_it_again(self) -> None:
        if self.last is not None:
            self.commit(self.last)

    @rule(job=JOBS)
    def say_something_old(self, job: str) -> None:
        old = self.desk.look(job, raw=raw_job(job, "failed"), look=0)
        if job in self.statuses and self.last is not None:
            self.commit(old)

    @rule(seconds=st.floats(-3600, 3600))
    def clock_jumps(self, seconds: float) -> None:
        self.clock.wall = max(1.0, self.clock.wall + seconds)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.stack.aclose())
        self.open()
        # A new term counts looks anew, and what is said again is about the present.
        self.last = None
        for job, status in self.statuses.items():
            self.commit(self.desk.look(job, raw=raw_job(job, status)))

    @invariant()
    def what_was_heard_is_what_is_kept(self) -> None:
        events = self.runner.run(self.desk.store.reads.events(limit=10_000))
        assert [e.id for e in events] == [ref.id for ref in self.heard]
        assert [e.body for e in events] == [ref.body for ref in self.heard]
        assert len({event.id for event in events}) == len(events)

    @invariant()
    def each_job_is_told_in_order_and_once(self) -> None:
        sequences: dict[str, int] = {}
        messages: defaultdict[str, list[str]] = defaultdict(list)
        status: dict[str, str] = {}
        for event in told(self.heard):
            job = event.common.id
            assert event.common.sequence > sequences.get(job, 0)
            sequences[job] = event.common.sequence
            if event.type == "fine_tuning.event.message":
                messages[job].append(event.payload.event_id)
            elif event.type.startswith("fine_tuning.job."):
                assert event.payload.previous_status == status.get(job)
                status[job] = event.common.status
        assert status == self.statuses
        assert messages == {job: ids for job, ids in self.told_ids.items() if ids}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.runner.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.directory)


AnyHistory.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAnyHistory = AnyHistory.TestCase

"""The runs that are open: one for a job, a few at once, each in order.

Every method but `knows` blocks and belongs into a thread. A run has a lock, so that a
delivery that was cut off and is still at work holds up the next of its job and nobody
else's. Trouble of one run never touches another, unless the helper process died.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunewatch.model import Snapshot
from tunewatch.plugin import Clock, Refusal
from tunewatch_plugins.wandb_run import facts
from tunewatch_plugins.wandb_run.client import Client, HelperGone, Opening
from tunewatch_plugins.wandb_run.news import Key, News, known
from tunewatch_plugins.wandb_run.run import OpenRun
from tunewatch_plugins.wandb_run.settings import Home, WandbSettings
from tunewatch_plugins.wandb_run.spool import Spool
from tunewatch_plugins.wandb_run.transaction_log import HEARD, Reached, reached

if TYPE_CHECKING:
    import wandb  # heavy: only when a run is opened
    from structlog.typing import FilteringBoundLogger

MOST_DEATHS = 3
"""Of the helper, while it had artifacts of a run, after which that goes without: an
answer that it cannot read ends it, and with it every run that is open."""


@dataclass(slots=True)
class _Slot:
    """The place of one job's run."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    run: OpenRun | None = None
    is_skipped: bool = False  #: the provider keeps a run of its own
    used: float = 0.0  #: monotonic
    users: int = 0  #: threads that hold it or wait for it


@dataclass(slots=True, kw_only=True)
class Runs:
    """See the module."""

    settings: WandbSettings
    client: Client
    spool: Spool
    clock: Clock
    log: FilteringBoundLogger
    _slots: dict[Key, _Slot] = field(default_factory=dict)
    _late: set[Key] = field(default_factory=set)  #: not finished in time
    _deaths: Counter[str] = field(default_factory=Counter)  #: of helpers, by run id
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def knows(self, key: Key) -> bool:
        """Whether a job's run is open, or known to be none of ours."""
        slot = self._slots.get(key)
        return slot is not None and (slot.run is not None or slot.is_skipped)

    def take(self, news: News, snapshot: Snapshot | None, *, is_read: bool) -> bool:
        """Bring news to the run of their job, opened and brought up to date if needed.

        False if it must be opened and the snapshot was not read. Returns for a settled
        job when W&B has all of it. Raises Retry.
        """
        slot = self._claim(news.key)
        try:
            with slot.lock:
                slot.used = self.clock.monotonic()
                if slot.run is None and not slot.is_skipped:
                    if not is_read:
                        return False
                    self._open(slot, news, snapshot)
                if slot.run is not None:
                    self._hand_over(slot, slot.run, news)
                elif news.concludes:
                    slot.is_skipped = False  # nothing more comes: it need not be known
        finally:
            self._release(news.key, slot)
        self._make_room()
        return True

    def is_idle(self, key: Key, idle: float) -> bool:
        """Whether nobody brought news for a run for so many seconds."""
        slot = self._slots.get(key)
        return slot is not None and slot.used <= self.clock.monotonic() - idle

    def open_keys(self) -> list[Key]:
        """Return the jobs whose runs are open."""
        return [key for key, _ in self._taken()]

    def leave(self) -> int:
        """Let go of what W&B did not take in time; return of how many jobs."""
        left = self._late | set(self.open_keys())
        if left or self.client.is_stuck:
            self._forget(self.client.helper)
        return len(left)

    def owed(self) -> list[Key]:
        """Return the jobs of which W&B may lack something, and whose run is closed."""
        return [key for key in self.spool.left() if not self.knows(key)]

    def close(
        self, key: Key, *, status: str | None = None, now: Snapshot | None = None
    ) -> None:
        """Close the run of a job, unless somebody is at it. Raises Retry.

        `status` is the job's, if it may be another than the run was told; `now` is all
        that the store has of it, if another replica writes the run.
        """
        slot = self._claim(key)
        try:
            if not slot.lock.acquire(blocking=False):
                return
            try:
                if slot.run is not None:
                    if now is not None:
                        with self._at_work(slot.run):
                            slot.run.leave(known(now))
                    slot.run.status = status or slot.run.status
                    self._finish(key, slot, slot.run)
            finally:
                slot.lock.release()
        finally:
            self._release(key, slot)

    def _open(self, slot: _Slot, news: News, snapshot: Snapshot | None) -> None:
        job = news.job if news.job is not None else {"id": news.key[1]}
        told = None if snapshot is None else known(snapshot)
        if told is not None and told.job is not None:
            job = told.job
        opening = self._opening(news, job)
        if opening is None:
            slot.is_skipped = True
            return
        self.spool.begin(news.key)
        run = self.client.open(opening)
        got = self._reached(run)
        opened = OpenRun(
            run=run,
            source=news.key[0],
            log=self.log,
            alerts=tuple(self.settings.alerts),
            is_ours=opening.is_ours,
            helper=self.client.helper,
            may_log_artifacts=self._deaths[run.id] < MOST_DEATHS,
            taken=got.step,
            heard=got.heard,
        )
        try:
            with self._at_work(opened):
                opened.describe(opening.name, opening.tags, opening.notes)
                if told is not None:
                    opened.take(told)
                if opening.is_ours:
                    opened.tell(self.spool.kept(news.key))
        except BaseException:
            # Half brought up to date it must not be found open. What it lacks is
            # found out anew when it is opened again.
            with suppress(Exception):
                opened.finish(within=self.settings.finish_timeout)
            raise
        slot.run = opened

    def _opening(self, news: News, job: Mapping[str, Any]) -> Opening | None:
        """Return the run that is wanted for a job, None if none is."""
        metadata = job.get("metadata")
        home = self.settings.home(
            news.key[0], metadata if isinstance(metadata, Mapping) else {}
        )
        theirs = facts.server_side(job)
        identifier, is_ours = facts.run_id(news.key[1]), True
        if theirs is not None and self.settings.when_server_side == "skip":
            return None
        if theirs is not None and self.settings.when_server_side == "duplicate":
            identifier += "-tunewatch"  # theirs may have the job's own id
        if theirs is not None and self.settings.when_server_side == "annotate":
            is_ours = False
            home = Home(
                entity=theirs.entity or home.entity,
                project=theirs.project or home.project,
                group=None,
                tags=(),
            )
            identifier = theirs.run_id or self._tagged(theirs, home) or identifier
        return Opening(
            run_id=identifier,
            home=home,
            name=facts.name(job),
            tags=facts.tags(job, home.tags),
            notes=facts.notes(job, news.key[0], news.realm),
            is_ours=is_ours,
        )

    def _tagged(self, theirs: facts.Server, home: Home) -> str | None:
        """Return the id of the provider's run by its tag; offline nobody can be asked.

        In the one example that the provider gives it is the job's; no word promises it.
        """
        if self.settings.mode != "online":
            return None
        return self.client.tagged(theirs.tag, home)

    def _reached(self, run: wandb.Run) -> Reached:
        """Return how far a run got, by the server, or by the files of offline parts."""
        if self.settings.mode == "offline":
            return reached(self.client.directory, run.id)
        heard = dict(run.summary).get(HEARD)
        return Reached(run.starting_step - 1, heard if isinstance(heard, int) else 0)

    def _hand_over(self, slot: _Slot, run: OpenRun, news: News) -> None:
        with self._at_work(run):
            if news.line is not None and run.is_ours:
                self.spool.keep(news.key, news.line)
            run.take(news)
        if run.settled and news.concludes:
            self._finish(news.key, slot, run)

    def _finish(self, key: Key, slot: _Slot, run: OpenRun) -> None:
        slot.run = None  # whatever comes of it: it cannot be used again
        self._late.add(key)
        with self._at_work(run, "finish a run"):
            run.finish(within=self.settings.finish_timeout)
        self._late.discard(key)
        self._deaths.pop(run.run.id, None)
        self.client.clear(run.run)
        self.spool.drop(key)

    @contextmanager
    def _at_work(self, run: OpenRun, what: str = "write to a run") -> Iterator[None]:
        try:
            with self.client.translated(what):
                yield
        except HelperGone:
            self._blame(run)
            self._forget(run.helper)
            raise

    def _forget(self, helper: int) -> None:
        """Give up every run that a helper process held, which is gone."""
        for _, slot in self._taken():
            if (run := slot.run) is not None and run.helper == helper:
                slot.run = None
                self._blame(run)
        self.client.renew(helper)

    def _blame(self, run: OpenRun) -> None:
        """Note that a helper died that had artifacts of a run, once of each run."""
        if not run.has_artifacts:
            return
        run.has_artifacts = False
        self._deaths[run.run.id] += 1
        if self._deaths[run.run.id] == MOST_DEATHS:
            self.log.warning("wandb.artifacts_left_out", run=run.run.id)

    def _make_room(self) -> None:
        """Close those that were used longest ago, beyond what may be open."""
        taken = sorted(self._taken(), key=lambda one: one[1].used)
        for key, _ in taken[: max(0, len(taken) - self.settings.max_open)]:
            # No trouble of the job whose news these are: it is made good later.
            with suppress(Refusal):
                self.close(key)

    def _taken(self) -> list[tuple[Key, _Slot]]:
        with self._guard:
            return [(key, slot) for key, slot in self._slots.items() if slot.run]

    def _claim(self, key: Key) -> _Slot:
        with self._guard:
            slot = self._slots.setdefault(key, _Slot())
            slot.users += 1
            return slot

    def _release(self, key: Key, slot: _Slot) -> None:
        with self._guard:
            slot.users -= 1
            if not slot.users and slot.run is None and not slot.is_skipped:
                self._slots.pop(key, None)

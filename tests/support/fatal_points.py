"""Named points on the daemon's way, at each of which it can be made to die.

A point is a function of the real code, just before it begins or just after its end.
Knows neither how the process ends there nor what must be true afterwards.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

Stage = Literal[
    "start", "walk", "work", "redelivery", "reload", "stop", "forgetting", "old store"
]
"""When a daemon comes by a point."""
When = Literal["before", "after", "instead"]
"""Instead: in the place of a loop that goes on for ever, after a second."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the code."""

    name: str
    where: str  #: module:attribute, where it is called from
    when: When
    stage: Stage = "work"
    calls: int = 25  #: the latest call that is drawn
    only: Callable[..., bool] | None = None
    """Which calls count, by their arguments; None: all."""

    def owner(self) -> tuple[Any, str]:
        """Return what holds the function, and the function's name there."""
        module, _, path = self.where.partition(":")
        *parents, name = path.split(".")
        owner = functools.reduce(getattr, parents, importlib.import_module(module))
        return owner, name


before = partial(Point, when="before")
"""Makes the point just before a function begins."""
after = partial(Point, when="after")
"""Makes the point just after a function's end."""


def _settles(happenings: Any, *_rest: Any) -> bool:
    return any(one.type == "tunewatch.job.settled" for one in happenings)


def _brings_derived(_journal: Any, refs: Any) -> bool:
    return any(ref.derived for ref in refs)


def _took_a_conclusion(
    _feeds: Any, _picked: Any, concluded: Any, *_rest: Any, **_named: Any
) -> bool:
    return bool(concluded)


def _has_conclusions(_connection: Any, _fence: Any, group: Any, _refused: Any) -> bool:
    return bool(group.conclusions)


def _ends_some(_connection: Any, ended: Any, **_named: Any) -> bool:
    return bool(ended)


POINTS = {
    point.name: point
    for point in (
        # A start.
        after(
            "a source was met, not committed",
            "tunewatch.store.sources:_contact",
            stage="start",
            calls=1,
        ),
        after(
            "a lease was taken, not committed",
            "tunewatch.store.leases:take_free",
            stage="start",
            calls=1,
        ),
        before(
            "a lease was taken and not used",
            "tunewatch.app.leasing:Leasing._lend",
            stage="start",
            calls=1,
        ),
        after(
            "marks were taken up, not committed",
            "tunewatch.store.resume:take_up",
            stage="start",
            calls=1,
        ),
        after(
            "marks were taken up, nothing is out",
            "tunewatch.dispatch.starting:load",
            stage="start",
            calls=3,
        ),
        # A walk over all jobs.
        before(
            "before a walk is saved",
            "tunewatch.store.sources:Sources.save_walk",
            stage="walk",
            calls=1,
        ),
        after(
            "a walk was saved, not committed",
            "tunewatch.store.sources:_save",
            stage="walk",
            calls=1,
        ),
        # A look and a delivery, and what comes now and then.
        after("a page of jobs was read", "tunewatch.poller.asking:Asker.jobs", calls=6),
        before(
            "before a page of events is read", "tunewatch.poller.asking:Asker.entries"
        ),
        after("a page of events was read", "tunewatch.poller.asking:Asker.entries"),
        after("a job was read", "tunewatch.poller.asking:Asker.job"),
        after(
            "checkpoints were read",
            "tunewatch.poller.asking:Asker.checkpoints",
            calls=6,
        ),
        after("a result file was read", "tunewatch.poller.asking:Asker.file", calls=2),
        before(
            "before a look is committed", "tunewatch.poller.committing:Committer.commit"
        ),
        after(
            "in a look: the state before was read",
            "tunewatch.store.commit:state_before",
        ),
        after(
            "in a look: the job was written, its events not",
            "tunewatch.store.commit:write_facts",
        ),
        after(
            "in a look: all was written, not committed", "tunewatch.store.commit:append"
        ),
        before(
            "a look was committed and nobody told",
            "tunewatch.store.journal:Journal.announce",
        ),
        after(
            "a look was committed and told, the poller does not know",
            "tunewatch.poller.committing:Committer.commit",
        ),
        after(
            "in a look that settles a job, not committed",
            "tunewatch.store.commit:drafts",
            calls=2,
            only=_settles,
        ),
        before(
            "before a group is written", "tunewatch.dispatch.groups:Groups._transaction"
        ),
        before(
            "in a group: nothing of it is written yet",
            "tunewatch.store.lanes:_move_marks",
        ),
        before(
            "in a group: marks are moved, finished lanes not dropped",
            "tunewatch.store.lanes:_drop_lanes",
        ),
        before(
            "in a group: finished lanes are dropped, dead letters not written",
            "tunewatch.store.lanes:_write_ends",
        ),
        after(
            "in a group: all was written, not committed",
            "tunewatch.dispatch.groups:settle_group",
        ),
        before(
            "a group was committed and nobody knows",
            "tunewatch.dispatch.groups:Groups._committed",
        ),
        before(
            "its mark is in the store, it was not sent",
            "tunewatch.dispatch.sending:Sender.send",
        ),
        before("before a POST", "tunewatch_plugins.webhook.transport:Line.post"),
        before(
            "sent, before the answer is read",
            "tunewatch_plugins.webhook.exchange:_answered",
        ),
        before(
            "after 2xx, the plugin has not returned",
            "tunewatch_plugins.webhook.sink:receipt",
        ),
        after(
            "after 2xx, before the mark is written",
            "tunewatch.dispatch.sending:Sender._land",
        ),
        after(
            "a reactor concluded something, not written",
            "tunewatch.dispatch.groups:compose",
            calls=4,
            only=_took_a_conclusion,
        ),
        after(
            "in a group: what a reactor concluded was written, not committed",
            "tunewatch.store.lanes:conclude",
            calls=4,
            only=_has_conclusions,
        ),
        before(
            "what a reactor concluded was committed, nobody told",
            "tunewatch.store.journal:Journal.announce",
            calls=2,
            only=_brings_derived,
        ),
        before(
            "before leases are renewed", "tunewatch.store.leases:Leases.renew", calls=4
        ),
        after(
            "in a renewal of leases, not committed",
            "tunewatch.store.leases:Leases._prolong",
            calls=4,
        ),
        after("leases were renewed", "tunewatch.store.leases:Leases.renew", calls=4),
        after(
            "in trimming the delivery log, not committed",
            "tunewatch.store.trimming:_trim",
            calls=2,
        ),
        # What a person asked to be delivered once more.
        after(
            "a redelivery was taken up, nothing is out",
            "tunewatch.dispatch.asked:next_stretches",
            stage="redelivery",
            calls=1,
        ),
        before(
            "a redelivery came back, its end is not written",
            "tunewatch.store.lanes:end_stretches",
            stage="redelivery",
            calls=1,
            only=_ends_some,
        ),
        after(
            "the end of a redelivery was written, not committed",
            "tunewatch.store.lanes:end_stretches",
            stage="redelivery",
            calls=1,
            only=_ends_some,
        ),
        # Another configuration.
        before(
            "a reload was checked, nothing is changed",
            "tunewatch.app.reloading:Reloading._adopt",
            stage="reload",
            calls=1,
        ),
        before(
            "plugins are exchanged, sources not",
            "tunewatch.app.reloading:Reloading._exchange_sources",
            stage="reload",
            calls=1,
        ),
        # An end in order that does not come to its end.
        before(
            "told to stop, what is out is waited for",
            "tunewatch.dispatch.dispatcher:wind_down",
            stage="stop",
            calls=1,
        ),
        after(
            "the last group is written",
            "tunewatch.dispatch.dispatcher:wind_down",
            stage="stop",
            calls=1,
        ),
        before(
            "before a lease goes back",
            "tunewatch.store.leases:Leases.release",
            stage="stop",
            calls=1,
        ),
        after(
            "a lease went back, the store is open",
            "tunewatch.app.plugins:Plugins.close_all",
            stage="stop",
            calls=1,
        ),
        # What is old, by a retention of seconds.
        after(
            "in forgetting events, not committed",
            "tunewatch.store.retention:_events",
            stage="forgetting",
            calls=2,
        ),
        before(
            "old events are gone, their jobs not",
            "tunewatch.store.retention:_jobs",
            stage="forgetting",
            calls=2,
        ),
        after(
            "in forgetting a job: its tombstone stands, it is not gone",
            "tunewatch.store.retention:_clear",
            stage="forgetting",
            calls=4,
        ),
        before(
            "jobs were forgotten, letters not",
            "tunewatch.store.retention:_letters",
            stage="forgetting",
            calls=2,
        ),
        # A store of an older release.
        before(
            "before an old store is upgraded",
            "tunewatch.store.opening:_upgrade",
            stage="old store",
            calls=1,
        ),
        after(
            "between two steps of an upgrade",
            "alembic.runtime.migration:HeadMaintainer.update_to_step",
            stage="old store",
            calls=2,
        ),
        after(
            "all steps of an upgrade taken, not committed",
            "tunewatch.store.opening:_upgrade",
            stage="old store",
            calls=1,
        ),
    )
}


def _loop(name: str, where: str) -> Point:
    return Point(name, where, "instead", calls=1)


CORE_LOOPS = {
    point.name: point
    for point in (
        _loop("lease.renew", "tunewatch.app.leasing:Leasing._seek_and_renew"),
        _loop("lease.watch", "tunewatch.app.leasing:Leasing._watch"),
        _loop("lease", "tunewatch.app.leasing:Leasing.keep"),
        _loop("requests", "tunewatch.app.upkeep:Upkeep.serve_requests"),
        _loop("figures", "tunewatch.app.upkeep:Upkeep.measure"),
        _loop("forget", "tunewatch.app.upkeep:Upkeep.forget"),
        _loop("lag", "tunewatch.telemetry.lag:LoopLag.watch"),
        _loop("stream", "tunewatch.web.v1.tail:Tail.run"),
        _loop("reload", "tunewatch.app.reloading:Reloading.keep"),
        _loop("service", "tunewatch.app.service:Service.keep"),
        _loop("store.writer", "tunewatch.store.carrier:Grouping._serve"),
    )
}
"""Loops without which the process is of no use."""
SOURCE_LOOPS = {
    point.name: point
    for point in (
        _loop("discover", "tunewatch.poller.list_loop:ListLoop.newest_pages"),
        _loop("daily", "tunewatch.poller.list_loop:ListLoop.daily_walk"),
        _loop("look", "tunewatch.poller.look_loop:LookLoop.run"),
        _loop("poll", "tunewatch.poller.source_poller:SourcePoller.run"),
        _loop("dispatch", "tunewatch.dispatch.dispatcher:Dispatcher._serve"),
    )
}
"""Loops of one source: it begins anew."""
LOOPS = CORE_LOOPS | SOURCE_LOOPS

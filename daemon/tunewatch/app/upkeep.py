"""What has to be done now and then: requests of people, figures, forgetting.

Each is a core loop: if it ends, so does the process.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple, NoReturn

import msgspec
import structlog

from tunewatch.app.conditions import Conditions
from tunewatch.app.lives import Lives
from tunewatch.app.orphans import OrphanLife
from tunewatch.app.overdue import Overdue
from tunewatch.app.parts import Parts
from tunewatch.app.sharing import Sharing
from tunewatch.app.store_presence import StorePresence
from tunewatch.app.terms import SourceLife
from tunewatch.host import wanted_by
from tunewatch.store.records import LeaseLost, StoreUnavailable
from tunewatch.store.redelivery import awaited_sources
from tunewatch.store.trimming import Bounds, trim
from tunewatch.telemetry import Telemetry

REQUESTS_EVERY = 0.5
FIGURES_EVERY = 15.0
FORGET_EVERY = 600.0
FORGET_AT_ONCE = 200
"""Transactions of forgetting in one round."""
TRIM_AT_ONCE = 1000
"""The same of trimming the delivery log: more than deliveries add in that time."""
LOOK_IN_VAIN = 600.0
"""s after which nobody wants a look any more: polls have looked since."""

_log = structlog.get_logger(__name__)


class LogBounds(NamedTuple):
    """How much of the delivery log is kept."""

    age: float  #: s
    rows: int


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """The core loops beside polling and delivering."""

    parts: Parts
    lives: Lives
    telemetry: Telemetry
    retention: float  #: s
    log: LogBounds
    conditions: Conditions
    presence: StorePresence
    file: Path | None  #: of an SQLite store
    requests_beat: float = 0.0  #: monotonic, of the last progress
    sharing: Sharing = field(init=False)
    overdue_looks: Overdue = field(init=False)

    def __post_init__(self) -> None:
        self.sharing = Sharing(parts=self.parts, lives=self.lives)
        self.overdue_looks = Overdue(self.parts.clock, LOOK_IN_VAIN)

    async def serve_requests(self) -> NoReturn:
        """Take what people asked for, twice a second."""
        while True:
            try:
                with suppress(LeaseLost):
                    await self._take_requests()
                    await self._take_looks()
                    await self.sharing.step()
                    await self.conditions.tell()
            except StoreUnavailable as fault:
                self.presence.away(fault.reason)  # the rows wait
            else:
                self.presence.back()
            self.requests_beat = self.parts.clock.monotonic()
            await self.parts.clock.sleep(REQUESTS_EVERY)

    async def _take_requests(self) -> None:
        requests = self.parts.store.requests
        for request in await requests.take(None, ["pause", "resume"]):
            body = msgspec.json.decode(request.body)
            gate = self.parts.gates.get(body.get("plugin", ""))
            if gate is None:
                _log.warning("request.refused", kind=request.kind, reason="no plugin")
            elif request.kind == "pause":
                gate.pause(body.get("reason") or "paused by hand")
            else:
                gate.resume()
        lives: list[SourceLife | OrphanLife] = [
            *self.lives.sources.values(),
            *self.lives.orphans.values(),
        ]
        held = {life.row.id: life for life in lives if life.dispatcher}
        awaited = await self.parts.store.carrier.read(awaited_sources)
        for source_id, life in held.items():
            dispatcher = life.dispatcher
            if dispatcher is None:
                continue
            if source_id in awaited or dispatcher.is_redelivering:
                dispatcher.expect_redeliveries()

    async def _take_looks(self) -> None:
        """Look at what somebody wants to be looked at now.

        The rows go first: who asks while a look is under way must get another one.
        """
        watched = self.lives.sources.values()
        lives = {life.row.id: life for life in watched if life.dispatcher}
        orphans = {
            one.row.id: name
            for name, one in self.lives.orphans.items()
            if one.dispatcher
        }
        requests = await self.parts.store.requests.pending(["look"])
        old = self.overdue_looks.among(requests)
        done = [
            one.id
            for one in requests
            if one.source_id in {*lives, *orphans} or one.id in old
        ]
        if done:
            await self.parts.store.requests.drop(*done)
        for one in requests:
            if one.source_id in lives:
                lives[one.source_id].look(one)
            elif one.source_id in orphans:
                name = orphans[one.source_id]
                reason = f"source {name} is not configured any more"
                _log.warning("request.refused", kind=one.kind, reason=reason)

    async def measure(self) -> NoReturn:
        """Read the figures that only the store knows."""
        while True:
            with suppress(StoreUnavailable):
                await self._measure()
            await self.parts.clock.sleep(FIGURES_EVERY)

    async def _measure(self) -> None:
        waiting = dict.fromkeys(self.parts.gates, 0)
        letters = dict.fromkeys(self.parts.gates, 0)
        oldest: dict[str, float] = {}
        instances = [gate.instance for gate in self.parts.gates.values()]
        is_wanted = wanted_by(instances)
        for row in await self.parts.store.reads.backlog(is_wanted=is_wanted):
            if row.plugin not in waiting:
                continue
            waiting[row.plugin] += row.pending
            letters[row.plugin] += row.dead_letters
            if row.oldest_at is not None:
                at = oldest.get(row.plugin, row.oldest_at)
                oldest[row.plugin] = min(at, row.oldest_at)
        for name in self.parts.gates:
            self.telemetry.backlog(name, waiting[name], oldest=oldest.get(name))
            self.telemetry.dead_letters(name, letters[name])
        self.telemetry.state_size(await self._size())
        if self.file is not None:
            with suppress(OSError):
                self.telemetry.state_free(disk_usage(self.file.parent).free)

    async def _size(self) -> int:
        """Return the bytes that the store takes."""
        if self.file is None:
            return await self.parts.store.reads.size()
        size = 0
        # The log beside the file is part of it until it is folded in, and goes then.
        for path in (self.file, self.file.with_name(f"{self.file.name}-wal")):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    async def forget(self) -> NoReturn:
        """Remove what is older than the retention, while our clock is right."""
        while True:
            await self.parts.clock.sleep(FORGET_EVERY)
            with suppress(StoreUnavailable):
                await self._trim()
            if not self.parts.measures.clock_agrees():
                continue
            for held in list(self.parts.leasing.held.values()):
                try:
                    purged = await self.parts.store.retention.purge(
                        held.fence,
                        older_than=self.retention,
                        plugins=list(self.parts.gates),
                        most=FORGET_AT_ONCE,
                    )
                except (StoreUnavailable, LeaseLost):
                    continue
                if purged.rows:
                    _log.info("store.forgotten", **purged._asdict())

    async def _trim(self) -> None:
        """Keep the delivery log within its bounds: by rows whatever the clock says."""
        now, is_right = self.parts.clock.now(), self.parts.measures.clock_agrees()
        bounds = Bounds(
            rows=self.log.rows,
            log_since=now - self.log.age if is_right else None,
            record_since=now - self.retention if is_right else None,
        )
        removed = await trim(self.parts.store.carrier, bounds, most=TRIM_AT_ONCE)
        if removed:
            _log.info("deliveries.forgotten", rows=removed)

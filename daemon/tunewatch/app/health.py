"""How the daemon is: the answers of /livez and /readyz, from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET
from msgspec.structs import replace

from tunewatch.app.lives import Lives
from tunewatch.app.organizations import Organization
from tunewatch.app.store_presence import StorePresence
from tunewatch.app.terms import SourceLife
from tunewatch.clock import Clock
from tunewatch.dispatch import Gate
from tunewatch.telemetry import LoopLag
from tunewatch.web import PartState, Readiness

SLOWEST_LAG = 30.0
"""s the event loop may have been blocked within the last minute."""
CORE_SILENCE = 60.0
"""s a core loop may be silent."""


@dataclass(slots=True, kw_only=True)
class DaemonHealth:
    """`web.Health` of one process."""

    gates: Mapping[str, Gate]
    lag: LoopLag
    clock: Clock
    lives: Lives
    organizations: Mapping[str, Organization] = field(default_factory=dict)
    core: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    """When each core loop last made progress, by the monotonic clock."""
    store: StorePresence = field(default_factory=StorePresence)
    leases_away: Callable[[], str | None] = lambda: None
    """Why the store neither renews nor lends leases, while it may still be read."""
    web_config: Callable[[], PartState | None] = lambda: None
    is_started: bool = False
    is_stopping: bool = False

    def live(self) -> Sequence[str]:
        """See `web.Health`. A provider or a database that is away is not in here."""
        now = self.clock.monotonic()
        stuck = [
            f"the loop {name} made no progress for {now - beat():.0f} s"
            for name, beat in self.core.items()
            if now - beat() > CORE_SILENCE
        ]
        stuck += [
            f"the loops of source {life.source.name} make no progress"
            for life in self.lives.sources.values()
            if life.is_stuck()
        ]
        if self.lag.worst() > SLOWEST_LAG:
            stuck.append(f"the event loop was blocked for {self.lag.worst():.1f} s")
        return stuck

    def ready(self) -> Readiness:
        """See `web.Health`."""
        store = self._store()
        reasons = []
        if self.is_stopping:
            reasons.append("it is stopping")
        if not self.is_started:
            reasons.append("it is starting")
        if store.reason is not None:
            reasons.append(store.reason)
        return Readiness(
            ready=not reasons,
            reasons=reasons,
            store=store,
            sources={name: self._titled(name, one) for name, one in self._sources()},
            plugins={name: _plugin(gate) for name, gate in self.gates.items()},
            organizations={
                name: one.state() for name, one in self.organizations.items()
            },
            web_config=self.web_config() or UNSET,
        )

    def is_store_up(self) -> bool:
        """Whether the store answers and takes what it is given."""
        return self._store().state == "up"

    def polled(self) -> list[int]:
        """Return the sources that are looked at here: nobody knows of orphans' jobs."""
        lives = self.lives.sources.values()
        return [life.row.id for life in lives if life.is_here]

    def _sources(self) -> Iterable[tuple[str, PartState]]:
        lives = self.lives
        states = {
            **lives.absent,
            **{name: one.state() for name, one in lives.orphans.items()},
            **{name: _source(one) for name, one in lives.sources.items()},
        }
        return states.items()

    def _titled(self, name: str, state: PartState) -> PartState:
        title = self.lives.titles.get(name)
        return state if title is None else replace(state, title=title)

    def _store(self) -> PartState:
        if not self.store.is_known:
            return PartState(state="starting")
        if self.store.reason is not None:
            return PartState(state="unavailable", reason=self.store.reason)
        for life in self.lives.sources.values():
            for part in (life.poller, life.dispatcher):
                if part is not None and part.paused_reason is not None:
                    return PartState(state="unavailable", reason=part.paused_reason)
        # Nobody polls or delivers without a lease, so nobody else would notice.
        away = self.leases_away()
        if away is not None and self.lives.are_any():
            return PartState(state="unavailable", reason=away)
        return PartState(state="up")


def _source(life: SourceLife) -> PartState:
    poller = life.poller
    if poller is None:
        return PartState(state="standby", reason="another replica may have it")
    trouble = poller.trouble
    if trouble.since is not None:
        state = "refused" if trouble.refused else "down"
        return PartState(state=state, reason=trouble.reason, since=trouble.since_wall)
    return PartState(state="up")


def _plugin(gate: Gate) -> PartState:
    state = gate.state()
    return PartState(
        state=state.state,
        reason=state.reason,
        since=state.since,
        retry_at=state.retry_at,
    )

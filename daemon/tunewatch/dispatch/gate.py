"""The way to one plugin, shared by the dispatchers of all sources of a process.

Holds what is true of the receiver and not of an event: whether it is up, probing or
paused, how many deliveries may be out, how fast. Knows no lane and no store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import structlog
from msgspec import Struct

from tunewatch.clock import Clock
from tunewatch.deadline import Deadline
from tunewatch.dispatch.pacing import Ramp, Rate
from tunewatch.dispatch.probing import Probes
from tunewatch.dispatch.seats import Seat, Seats
from tunewatch.host import Instance
from tunewatch.plugin import Reactor, Sink, View
from tunewatch.store.lane_records import PluginRow

Condition: TypeAlias = Literal["up", "probing", "paused"]

_log = structlog.get_logger(__name__)


class GateState(Struct, frozen=True, kw_only=True):
    """How a plugin is, for people and for metrics."""

    name: str
    kind: str
    state: Condition
    reason: str | None
    since: float  #: unix seconds
    in_flight: int
    waiting_lanes: int
    retry_at: float | None  #: unix seconds of the next probe


class Permit(NamedTuple):
    """The right to make one call."""

    number: int  #: of the calls begun at this gate
    is_probe: bool


class Gate:
    """See the module. `jitter` returns numbers in [0, 1)."""

    def __init__(
        self, instance: Instance, *, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self.instance = instance
        self.deadline = Deadline(instance.timeout)  #: of each call
        self.target: Sink | Reactor | None = None  #: None: not open
        self.is_reactor = False
        self.is_deaf = False  #: a view: it hears nothing
        self.calls = 0  #: begun so far
        self.newest_accepted = 0  #: the highest number of a call that was accepted
        self.version = 0  #: grows when the state that outlives the process changes
        self.saved = 0  #: the version that is in the store
        self.read_at = float("-inf")  #: monotonic, when its row was last looked up
        self._clock = clock
        self._jitter = jitter
        self._state: Condition = "up"
        self._reason: str | None = None
        self._since = clock.now()
        self._closed: str | None = "not open yet"
        self._probes = Probes()
        self._ramp = Ramp(instance.concurrency)
        self._rate = Rate(instance.rate)
        self._out = 0
        self._seats = Seats()

    # The plugin itself, in the hands of whoever opens it

    def opened(self, target: Sink | Reactor | View) -> None:
        """Take the plugin as it is open now; deliveries go on."""
        self.is_reactor = hasattr(target, "react")
        self.is_deaf = not self.is_reactor and not hasattr(target, "deliver")
        self.target = None if self.is_deaf else target  # type: ignore[assignment]
        self._closed = None
        self._seats.wake_all()

    def closed(self, reason: str) -> None:
        """Note that the plugin is not open: nothing goes out until it is."""
        self.target = None
        self._closed = reason
        self._ramp.begin()

    # What a person, the receiver or another replica decides

    def pause(self, reason: str) -> None:
        """Let nothing out until `resume`, or until the settings change."""
        if self._state != "paused":
            _log.warning("plugin.paused", plugin=self.instance.name, reason=reason)
        self._turn("paused", reason)
        self.version += 1
        self._seats.wake_all()

    def resume(self) -> None:
        """Let deliveries go on; the receiver is ramped up."""
        if self._state != "paused":
            return
        self._recovered("plugin.resumed")
        self.version += 1

    def adopt(self, row: PluginRow) -> None:
        """Take over the state that the store has, unless ours is newer."""
        if self.version != self.saved:
            return
        if row.state == "paused" and self._state != "paused":
            self._turn("paused", row.reason or "paused")
            self._since = row.since
        elif row.state != "paused" and self._state == "paused":
            self._recovered("plugin.resumed")

    def row(self) -> PluginRow:
        """Return the state that outlives the process."""
        paused = self._state == "paused"
        return PluginRow(
            self.instance.name,
            "paused" if paused else "up",
            self._reason if paused else None,
            self._since,
            self.instance.digest,
        )

    # Letting calls out

    def join(self, seat: Seat) -> None:
        """Seat a dispatcher."""
        self._seats.join(seat)

    def leave(self, seat: Seat) -> None:
        """Unseat a dispatcher."""
        self._seats.leave(seat)

    async def deserted(self) -> None:
        """Wait until no dispatcher is seated: no call begins any more."""
        await self._seats.deserted.wait()

    def content(self, seat: Seat) -> None:
        """Note that a dispatcher wants nothing more for now: others need not wait."""
        self._seats.content(seat)

    def admit(self, seat: Seat) -> Permit | None:
        """Let one call out, or remember who asked and wake it when it may."""
        if not self.is_passable or not self._seats.take_turn(seat, free=self._room()):
            return None
        self._rate.spend(self._clock.monotonic())
        self._out += 1
        self.calls += 1
        is_probe = self._state == "probing"
        self._probes.is_out = is_probe
        return Permit(self.calls, is_probe)

    @property
    def is_up(self) -> bool:
        """Whether deliveries go out as they come."""
        return self.target is not None and self._state == "up"

    @property
    def is_passable(self) -> bool:
        """Whether anything may go out at all: open and not paused."""
        return self.target is not None and self._state != "paused"

    def next_at(self) -> float | None:
        """Return the monotonic time when a call may go out, None if not by time."""
        if not self.is_passable:
            return None
        if self._state == "probing":
            return self._probes.next_at()
        return self._rate.next_at()

    def withdraw(self, permit: Permit) -> None:
        """Give a permit back that was not used, or whose call says nothing."""
        self._out -= 1
        if permit.is_probe:
            self._probes.is_out = False
        self._seats.wake_queue()

    # What became of them

    def accepted(self, permit: Permit) -> None:
        """Note that the receiver took an event."""
        self.newest_accepted = max(self.newest_accepted, permit.number)
        self._answered(permit, accepted=True)

    def answered(self, permit: Permit) -> None:
        """Note that the receiver judged an event: it is up, whatever it said."""
        self._answered(permit, accepted=False)

    def failed(self, permit: Permit, reason: str, after: float | None) -> None:
        """Note trouble of the receiver: it is probed from now on."""
        now = self._clock.monotonic()
        if self._state == "up":
            self._turn("probing", reason)
            self._probes.begin(
                now, calls=self.calls, after=after, jitter=self._jitter()
            )
            _log.warning(
                "plugin.trouble_began", plugin=self.instance.name, reason=reason
            )
        elif permit.is_probe:
            self._reason = reason if self._state == "probing" else self._reason
            self._probes.failed(now, after=after, jitter=self._jitter())
        else:  # it was out already when the trouble began
            self._probes.put_off(now, after=after)
        self.withdraw(permit)

    def is_taking(self) -> bool:
        """Whether it is open and neither probing nor paused; a view always is."""
        return self._closed is None and self._state == "up"

    def state(self) -> GateState:
        """Return how the plugin is."""
        state, reason = self._state, self._reason
        if self._closed is not None and state != "paused":
            state, reason = "probing", self._closed
        retry_at = None
        if self._state == "probing" and self._closed is None:
            left = max(0.0, self._probes.due - self._clock.monotonic())
            retry_at = self._clock.now() + left
        return GateState(
            name=self.instance.name,
            kind=self.instance.kind,
            state=state,
            reason=reason,
            since=self._since,
            in_flight=self._out,
            waiting_lanes=self._seats.waiting_lanes,
            retry_at=retry_at,
        )

    # Within

    def _room(self) -> int:
        now = self._clock.monotonic()
        if self._state == "probing":
            return 1 if self._probes.may_go(now) else 0
        if not self._rate.is_free(now):
            return 0
        return max(0, self._ramp.limit - self._out)

    def _answered(self, permit: Permit, *, accepted: bool) -> None:
        if self._state == "probing" and self._probes.is_newer(permit.number):
            self._recovered("plugin.trouble_ended")
        elif accepted:
            self._ramp.climb()
        self.withdraw(permit)

    def _recovered(self, event: str) -> None:
        """Be up again, with one delivery at a time at first."""
        _log.info(event, plugin=self.instance.name, reason=self._reason)
        self._turn("up", None)
        self._ramp.begin()
        self._probes.is_out = False
        self._seats.wake_all()

    def _turn(self, state: Condition, reason: str | None) -> None:
        self._state = state
        self._reason = reason
        self._since = self._clock.now()

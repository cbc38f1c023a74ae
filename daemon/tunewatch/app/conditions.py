"""Lets other processes know how the plugins are here: the command line shows it.

Writes when something changed and now and then, so that what nobody renews can be told
from what is true. Knows no plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tunewatch.clock import Clock
from tunewatch.dispatch import Gate
from tunewatch.store.plugin_states import PluginState, PluginStates
from tunewatch.store.records import StoreFault

ANEW = 3600.0
"""s after which everything is told anew."""
SLACK = 1.0
"""s by which the time of a probe may differ and still be the same."""


@dataclass(slots=True, kw_only=True)
class Conditions:
    """See the module."""

    gates: Mapping[str, Gate]
    states: PluginStates
    clock: Clock
    _told: Sequence[PluginState] = field(default_factory=tuple)
    _anew_at: float = 0.0  #: monotonic s

    async def tell(self) -> None:
        """Write how the plugins are if that is news. Raises StoreFault."""
        now = [_state_of(gate) for gate in self.gates.values()]
        is_due = self.clock.monotonic() >= self._anew_at
        if not is_due and _are_same(now, self._told):
            return
        await self.states.tell(now)
        self._told, self._anew_at = now, self.clock.monotonic() + ANEW

    async def forget(self) -> None:
        """Say that there is nothing to be known of this process any more."""
        with suppress(StoreFault):  # whoever reads it knows that nobody is there
            await self.states.forget()


def _state_of(gate: Gate) -> PluginState:
    state = gate.state()
    return PluginState(
        state.name, state.state, state.reason, state.since, state.retry_at
    )


def _are_same(now: Sequence[PluginState], told: Sequence[PluginState]) -> bool:
    return len(now) == len(told) and all(map(_is_same, now, told))


def _is_same(now: PluginState, told: PluginState) -> bool:
    if now[:4] != told[:4] or (now.retry_at is None) != (told.retry_at is None):
        return False
    return abs((now.retry_at or 0.0) - (told.retry_at or 0.0)) <= SLACK

"""What a plugin wants to hear, judged when an event is dispatched.

Types by the instance's patterns, sources by globs, jobs by their metadata. Safe in any
thread: nothing here changes after it was made.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewatch.dispatch.gate import Gate
from tunewatch.events import GROUPS, has_metadata, matcher
from tunewatch.store.heads import Wanted


class Subscription:
    """One plugin's. Raises ValueError for a group of types that does not exist."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._wants_type = matcher(gate.instance.events)

    def wants(self, event_type: str, derived: bool) -> bool:
        """Whether the plugin wants such events."""
        return self.bears(event_type, derived) and self._wants_type(event_type)

    def bears(self, event_type: str, derived: bool) -> bool:
        """Whether the plugin may have an event that a person named for it."""
        del event_type
        # A reactor would answer itself for ever.
        return not (derived and self._gate.is_reactor)

    def wanted_again(self, named: bool, types: Sequence[str]) -> Wanted:
        """Return the question which events of a redelivery the plugin gets.

        `named`: a person named it, whatever is subscribed. `types`: only such; an
        unknown group among them stands for nothing.
        """
        wants = self.bears if named else self.wants
        if not types:
            return wants
        known = (one for one in types if not one.startswith("@") or one in GROUPS)
        is_meant = matcher(known)
        return lambda kind, derived: is_meant(kind) and wants(kind, derived)

    def wants_job(self, job_key: int, metadata: bytes | None) -> bool:
        """Whether the plugin wants events of this job; those of the source pass."""
        return job_key == 0 or has_metadata(metadata, self._gate.instance.metadata)


def hears(gate: Gate, source: str) -> bool:
    """Whether a plugin is subscribed to a source at all."""
    return gate.instance.hears(source)

"""What a plugin wants to hear, judged when an event is dispatched.

Types by the instance's patterns, sources by globs, jobs by their metadata. Safe in any
thread: nothing here changes after it was made.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tunewatch.dispatch.gate import Gate
from tunewatch.events import matcher

_metadata = msgspec.json.Decoder(dict[str, Any])


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

    def wants_job(self, job_key: int, metadata: bytes | None) -> bool:
        """Whether the plugin wants events of this job; those of the source pass."""
        asked = self._gate.instance.metadata
        if not asked or job_key == 0:
            return True
        has = _metadata.decode(metadata) if metadata else {}
        return all(has.get(key) == value for key, value in asked.items())


def hears(gate: Gate, source: str) -> bool:
    """Whether a plugin is subscribed to a source at all."""
    return gate.instance.hears(source)

"""Which requests have waited for longer than anybody wants an answer.

Counted from when this process first saw them: when they were made is told by the clock
of another machine, which may be off by hours. Knows nothing of what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tunewatch.clock import Clock
from tunewatch.store.requests import Request


@dataclass(slots=True)
class Overdue:
    """Remembers since when requests of one kind wait."""

    clock: Clock
    after: float  #: s that one may wait
    _seen: dict[int, float] = field(default_factory=dict)  # monotonic, by id

    def among(self, waiting: Iterable[Request]) -> set[int]:
        """Return the ids of those that wait too long. `waiting` is all there are."""
        now = self.clock.monotonic()
        self._seen = {one.id: self._seen.get(one.id, now) for one in waiting}
        return {one for one, since in self._seen.items() if now - since > self.after}

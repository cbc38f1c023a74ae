"""Whether the store can be reached, said once when it goes and once when it is back.

Whoever asks the store often anyway tells what came of it; nothing here asks it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class StorePresence:
    """What is known of one store's being there."""

    reason: str | None = None  #: why it is away; None while it answers
    is_known: bool = False  #: it was asked at least once

    def away(self, reason: str) -> None:
        """Note that it could not be asked."""
        if self.reason is None:
            _log.warning("store.away", reason=reason)
        self.reason, self.is_known = reason, True

    def back(self) -> None:
        """Note that it answered."""
        if self.reason is not None:
            _log.info("store.back")
        self.reason, self.is_known = None, True

"""A trouble, said once when it starts and once when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger


class Outage:
    """Whether something is down.

    Logs `<what>.down` when it starts and `<what>.up` with its length in seconds when it
    ends. In between a reason that differs is kept and said at debug level only: an
    outage that flaps between two reasons stays two lines.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        what: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        **fields: object,
    ) -> None:
        self._log = log
        self._what = what
        self._fields = fields
        self._monotonic = monotonic
        self._since = 0.0
        self.reason: str | None = None  #: None while all is well

    @property
    def is_on(self) -> bool:
        """Whether it is down now."""
        return self.reason is not None

    def began(self, reason: str, **fields: object) -> bool:
        """Note that it is down; return whether that is news."""
        is_news = self.reason is None
        if is_news:
            self._since = self._monotonic()
            self._log.warning(
                f"{self._what}.down", reason=reason, **self._fields, **fields
            )
        elif reason != self.reason:
            self._log.debug(
                f"{self._what}.still_down", reason=reason, **self._fields, **fields
            )
        self.reason = reason
        return is_news

    def ended(self, **fields: object) -> bool:
        """Note that all is well; return whether that is news."""
        if self.reason is None:
            return False
        lasted = round(self._monotonic() - self._since, 3)
        self._log.info(f"{self._what}.up", seconds=lasted, **self._fields, **fields)
        self.reason = None
        return True

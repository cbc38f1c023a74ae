"""The probes of a receiver in trouble: one at a time, further and further apart.

Pure: time and jitter come in as arguments. Knows no plugin, and not what is sent.
"""

from __future__ import annotations

from tunewatch.dispatch.patience import asked, probe_wait


class Probes:
    """See the module. Says nothing while the receiver is not in trouble."""

    def __init__(self) -> None:
        self.is_out = False
        self.due = 0.0  #: monotonic s of the next one
        self._failures = 0
        self._last_call_before = 0

    def begin(
        self, now: float, *, calls: int, after: float | None, jitter: float
    ) -> None:
        """Note that trouble began, when so many calls had been begun."""
        self._last_call_before = calls
        self._failures = 1
        self.due = now + probe_wait(1, after, jitter)

    def failed(self, now: float, *, after: float | None, jitter: float) -> None:
        """Note that a probe failed: the next one comes later."""
        self._failures += 1
        self.due = now + probe_wait(self._failures, after, jitter)

    def put_off(self, now: float, *, after: float | None) -> None:
        """Heed what a call that was out before the trouble was told."""
        self.due = max(self.due, now + asked(after))

    def may_go(self, now: float) -> bool:
        """Whether the next one may go out."""
        return not self.is_out and now >= self.due

    def next_at(self) -> float | None:
        """Return the monotonic time of the next one, None while one is out."""
        return None if self.is_out else self.due

    def is_newer(self, call: int) -> bool:
        """Whether a call was begun after the trouble: its answer is news."""
        return call > self._last_call_before

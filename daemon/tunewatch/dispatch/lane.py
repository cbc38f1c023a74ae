"""One lane: the events of one job on their way to one plugin, as plain values.

Knows positions and the trouble of its head; not who moves it, nor what is kept of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
    """What a lane is doing."""

    READY = "ready"
    OUT = "out"  #: its head is being delivered, or what came of it is being written
    WAITING = "waiting"  #: for a time that it owes to its own trouble


@dataclass(slots=True)
class Ordeal:
    """The trouble that the head of a lane has had."""

    tries: int = 0
    first_failure_at: float | None = None  #: unix seconds
    wait: float | None = None  #: s, the length of the wait
    wait_until: float | None = None  #: unix seconds
    crashes: int = 0
    last_error: str | None = None


@dataclass(slots=True, eq=False)
class Lane:
    """The events of one job that are on their way to one plugin, in order."""

    key: int  #: the job's; below 0: a redelivery
    cursor: int  #: position finished
    upcoming: list[int]  #: the next wanted positions
    more: bool = False  #: there may be further ones after `upcoming`
    standing: Standing = Standing.READY
    queued: bool = False
    attempts: int = 0  #: of the head, in this process
    failed_call: int | None = None  #: calls begun when the receiver last refused it
    ordeal: Ordeal | None = None
    until: float = 0.0  #: monotonic s, if it waits

    @property
    def floor(self) -> int:
        """The lowest position that may be unfinished."""
        return self.upcoming[0] if self.upcoming else self.cursor + 1

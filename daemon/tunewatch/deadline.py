"""A limit of time for many calls at once, with one timer for all of them.

Does what `asyncio.timeout` does where every call gets the same time: it costs an entry
in a dictionary instead of a timer of its own, which counts where thousands of calls a
second almost never need it. Knows nothing of what is called.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Cuts off what takes longer than so many seconds.

    `with deadline.begin() as limit:` raises TimeoutError when time is up, and
    `limit.expired` tells it from one that came from within. For one event loop.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Limit, None] = {}  # in the order of their ends
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Limit:
        """Return the limit of one call, which counts from its `with` on."""
        return Limit(self)

    def _start(self, limit: Limit, loop: asyncio.AbstractEventLoop) -> None:
        limit.until = loop.time() + self.seconds
        self._running[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(limit.until, self._sweep, loop)

    def _end(self, limit: Limit) -> None:
        # The timer stays: it finds out by itself whose turn is next.
        self._running.pop(limit, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for limit in list(self._running):
            if limit.until > now:
                self._timer = loop.call_at(limit.until, self._sweep, loop)
                return
            del self._running[limit]
            limit.expire()


class Limit:
    """The limit of one call, in the task that makes it."""

    __slots__ = ("_cancelling", "_deadline", "_task", "expired", "until")

    def __init__(self, deadline: Deadline) -> None:
        self.expired = False
        self.until = 0.0  #: time of the loop
        self._deadline = deadline
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def lift(self) -> None:
        """Let the rest of the call take its time."""
        self._deadline._end(self)  # noqa: SLF001 - the two are one

    def expire(self) -> None:
        """Cut the call off."""
        assert self._task is not None  # noqa: S101 - it has begun
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)  # without it, it would ask again, slowly
        assert task is not None  # noqa: S101 - it is awaited in one
        self._task = task
        self._cancelling = task.cancelling()
        self._deadline._start(self, loop)  # noqa: SLF001 - the two are one
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lift()
        task, self._task = self._task, None
        if not self.expired or task is None:
            return
        # Somebody else may have cancelled as well: then that is what happened.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

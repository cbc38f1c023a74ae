"""Threads of each plugin and each source apart: who fills its own holds up nobody else.

Whoever blocks in `asyncio.to_thread`, and whoever looks up a name, takes one of the few
threads that the event loop has for all. Foreign code may never give it back, and nobody
could look up a name any more. Knows no owner by what it does.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Condition, Lock, Thread
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST = min(32, (os.cpu_count() or 1) + 4)
"""Calls of one owner at once: as many as asyncio has for everybody."""
IDLE = 10.0
"""s after which a thread without work ends."""
FAREWELL = 1.0
"""s that calls have to end by themselves when all is shut down."""
OURS = ""
"""The owner of what nobody else is named for."""

_owner: ContextVar[str] = ContextVar("owner of threads", default=OURS)


@contextmanager
def bulkhead(owner: str) -> Iterator[None]:
    """Let what is begun in the block, tasks included, use threads of this owner."""
    before = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(before)


def plugin(name: str) -> str:
    """Return the owner that a plugin is, wherever it is called."""
    return f"plugins.{name}"


def source(name: str) -> str:
    """Return the owner that a source is."""
    return f"sources.{name}"


class _Call(NamedTuple):
    owner: str
    future: Future[Any]
    work: Callable[[], Any]


class Bulkheads(ThreadPoolExecutor):
    """The default executor of an event loop, which serves each owner apart.

    Threads are made when all others are at work, and waited for by nobody for long: one
    that hangs does not keep the process. Of ThreadPoolExecutor it is what asyncio asks
    for, and takes over nothing.
    """

    def __init__(
        self, most: int = MOST, *, idle: float = IDLE, farewell: float = FAREWELL
    ) -> None:
        super().__init__(most)
        self._most, self._longest_idle, self._farewell = most, idle, farewell
        lock = Lock()
        self._more = Condition(lock)  #: there is a call for a thread that waits
        self._less = Condition(lock)  #: a call has ended
        self._given: deque[_Call] = deque()  #: calls that a thread is there for
        self._behind: dict[str, deque[_Call]] = {}  #: those beyond the most, by owner
        self._out: Counter[str] = Counter()  #: calls given and not ended, by owner
        self._idle = 0
        self._is_over = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call it in a thread, as one of the calls of whoever this is done for."""
        call = _Call(_owner.get(), Future(), partial(fn, *args, **kwargs))
        with self._more:
            if self._is_over:
                raise RuntimeError("no call can be begun any more: all is shut down")
            if self._out[call.owner] < self._most:
                self._give(call)
            else:
                self._behind.setdefault(call.owner, deque()).append(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the signature is concurrent.futures'
        """Take no more calls; give those at work a moment, and none that waits."""
        with self._less:
            self._is_over = True
            left = [call for calls in self._behind.values() for call in calls]
            self._behind.clear()
            for call in left:
                call.future.cancel()
                call.future.set_running_or_notify_cancel()
            if wait:
                self._less.wait_for(lambda: not self._out, self._farewell)

    def at_work(self) -> dict[str, int]:
        """Return how many calls of which owner have not ended."""
        with self._less:
            return dict(self._out)

    def _give(self, call: _Call) -> None:
        """Let a thread that waits do it, or else a new one. Under the lock."""
        self._given.append(call)
        if len(self._given) <= self._idle:
            self._more.notify()
        else:
            try:
                Thread(target=self._work, name="aside", daemon=True).start()
            except RuntimeError:  # as many as the system allows
                self._given.remove(call)
                raise
        self._out[call.owner] += 1

    def _work(self) -> None:
        """Do what is given, until for a while nothing was."""
        while True:
            with self._more:
                while not self._given:
                    self._idle += 1
                    was_called = self._more.wait(self._longest_idle)
                    self._idle -= 1
                    if not was_called and not self._given:
                        return
                call = self._given.popleft()
            _do(call)
            self._ended(call.owner)
            del call  # what it returned is not kept until the next one

    def _ended(self, owner: str) -> None:
        with self._less:
            self._out[owner] -= 1
            if not self._out[owner]:
                del self._out[owner]
            behind = self._behind.get(owner)
            if behind:
                # For the very thread that is here, unless one that waits is faster.
                following = behind.popleft()
                if not behind:
                    del self._behind[owner]
                self._given.append(following)
                self._out[owner] += 1
            self._less.notify_all()


def _do(call: _Call) -> None:
    if not call.future.set_running_or_notify_cancel():
        return  # given up while it waited
    try:
        done = call.work()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        call.future.set_exception(error)
    else:
        call.future.set_result(done)
    finally:
        del call  # the traceback holds this frame: no circle

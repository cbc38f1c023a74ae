"""How a transaction gets to the database: whole, grouped with what else is waiting.

A transaction is a plain function over a SQLAlchemy `Connection`. It may be run more
than once before it counts, so it must be re-runnable: no side effect but its SQL.
Knows nothing of tables, and nothing of a particular engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

from tunewatch.store.records import (
    StoreBroken,
    StoreFault,
    StoreUnavailable,
    StoreUnusable,
)
from tunewatch.unbidden import unbroken

T = TypeVar("T")
Dialect: TypeAlias = Literal["sqlite", "postgresql"]
Transaction: TypeAlias = Callable[[Connection], Any]

MOST_TOGETHER = 64
"""Functions in one transaction, at most: a group must end well within a lease."""


class Mergeable(Protocol):
    """A transaction that can be done as one with others of its kind, faster.

    It is a plain function too: called alone, it does its own part.
    """

    @property
    def kind(self) -> Hashable:
        """Equal for those that can be done together."""
        ...

    def together(self, connection: Connection, every: Sequence[Any]) -> list[Any]:
        """Do all of them, of which this is the first; return a result for each."""
        ...


def run_all(connection: Connection, fns: Sequence[Transaction]) -> list[Any]:
    """Run functions in their order, neighbours of a kind together."""
    results: list[Any] = []
    for kind, same in groupby(fns, key=_kind):
        group = list(same)
        if kind is None or len(group) == 1:
            results += [fn(connection) for fn in group]
        else:
            first: Any = group[0]
            results += first.together(connection, group)
    return results


def _kind(fn: Transaction) -> Hashable:
    return getattr(fn, "kind", None)


class Carrier(Protocol):
    """Runs transactions on one engine."""

    @property
    def dialect(self) -> Dialect:
        """Which engine it is."""
        ...

    async def write(
        self,
        fn: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        beside: bool = False,
    ) -> T:
        """Run fn in a transaction and return its result after the commit.

        What queues while a transaction runs goes into the next one together; a function
        that raises harms only itself. `committed` is called on the event loop with the
        result, in commit order, even if the caller was cancelled meanwhile.

        `beside`: it need not queue behind those that commit events, since it commits
        none and locks what it writes. An engine with one writer lets it queue.

        Raises what fn raised, or StoreUnavailable (try again: the outcome of a commit
        may be unknown), StoreBroken, StoreUnusable.
        """
        ...

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run fn over one unchanging state of the database; it cannot write."""
        ...

    async def tally(self, question: str) -> int:
        """Return how many rows a question finds, which is SQL without values.

        For what is asked all day: one round trip where that is what costs.
        """
        ...


class StoreAway(StoreUnavailable):
    """The connection is lost: whether the last commit happened is unknown."""


@dataclass(slots=True)
class _Call:
    fn: Transaction
    committed: Callable[[Any], None] | None
    outcome: asyncio.Future[tuple[Any, Exception | None]]

    def settle(self, value: Any, error: Exception | None) -> None:
        if error is None and self.committed is not None:
            try:
                self.committed(value)
            except Exception as defect:  # noqa: BLE001 - it is handed to the caller
                error = defect
        if not self.outcome.done():
            self.outcome.set_result((value, error))


class Grouping:
    """Gives waiting functions to `attempt` in groups, one group at a time.

    `attempt` runs functions in one transaction and returns their results, or raises
    and leaves nothing behind.
    """

    def __init__(
        self, attempt: Callable[[Sequence[Transaction]], Awaitable[list[Any]]]
    ) -> None:
        self._attempt = attempt
        self._waiting: deque[_Call] = deque()
        self._running: list[_Call] = []
        self._ready = asyncio.Event()
        self._closing = False
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Grouping:
        await self._tasks.__aenter__()
        self._tasks.create_task(self._go_on(), name="store.writer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._ready.set()
        # What the body raised is no business of the group's: handed in, it would come
        # out wrapped. A cancellation is: the writer is not waited for then.
        if isinstance(error, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)

    async def write(
        self,
        fn: Callable[[Connection], T],
        committed: Callable[[T], None] | None = None,
    ) -> T:
        """Queue fn for the next group and return its result."""
        if self._closing:
            raise StoreUnavailable("the store is closed")
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(fn, committed, outcome))
        self._ready.set()
        value, error = await outcome
        if error is not None:
            raise error
        result: T = value
        return result

    async def _go_on(self) -> None:
        """Serve to the end; whatever else ends it ends who opened the store."""
        try:
            await unbroken("the loop store.writer", self._serve())
        except Exception as error:
            # Not for every command that reads the store: it costs each 60 ms.
            import structlog

            said, reason = structlog.get_logger(__name__), type(error).__name__
            said.error("loop.died", loop="store.writer", reason=reason, exc_info=error)
            raise

    async def _serve(self) -> None:
        try:
            while self._waiting or not self._closing:
                await self._ready.wait()
                self._ready.clear()
                while self._waiting:
                    self._running = self._next_group()
                    await self._run(self._running)
                if self._closing:
                    return
        finally:
            self._closing = True
            for call in (*self._running, *self._waiting):
                call.settle(None, StoreUnavailable("the store was closed"))

    def _next_group(self) -> list[_Call]:
        group: list[_Call] = []
        while self._waiting and len(group) < MOST_TOGETHER:
            call = self._waiting.popleft()
            if not call.outcome.cancelled():
                group.append(call)
        # Those of a kind next to each other, else in the order they came.
        first: dict[Hashable, int] = {}
        for index, call in enumerate(group):
            first.setdefault(_kind(call.fn), index)
        order = {
            id(call): index if _kind(call.fn) is None else first[_kind(call.fn)]
            for index, call in enumerate(group)
        }
        return sorted(group, key=lambda call: order[id(call)])

    async def _run(self, group: Sequence[_Call]) -> None:
        if not group:
            return
        fault = await self._together(group)
        if fault is None:
            return
        if len(group) == 1 or _concerns_all(fault):
            _fail(group, fault)
            return
        for index, call in enumerate(group):
            fault = await self._together([call])
            if fault is not None and _concerns_all(fault):
                _fail(group[index:], fault)
                return
            if fault is not None:
                _fail([call], fault)

    async def _together(self, group: Sequence[_Call]) -> Exception | None:
        """Settle a group that could be committed; return why it could not."""
        try:
            results = await self._attempt([call.fn for call in group])
        except Exception as fault:  # noqa: BLE001 - handed to whom it concerns
            return fault
        for call, result in zip(group, results, strict=True):
            call.settle(result, None)
        return None


def _concerns_all(fault: Exception) -> bool:
    return isinstance(fault, StoreAway | StoreBroken | StoreUnusable)


def _fail(group: Sequence[_Call], fault: Exception) -> None:
    for call in group:
        # One of its own for each caller: a traceback grows with each raise.
        own = type(fault)(fault.reason) if isinstance(fault, StoreFault) else fault
        call.settle(None, own)

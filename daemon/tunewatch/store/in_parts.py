"""Reads the jobs of a window some at a time, and decodes them in a thread.

Knows how reading and decoding take turns on each engine; what is read is told by
`gathered`, what becomes of it by `windows` and `glances`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection

from tunewatch.plugin import JobGlance, JobKind, JobRow, WindowPart
from tunewatch.store import windows
from tunewatch.store.carrier import Carrier
from tunewatch.store.gathered import (
    COUNTED,
    SHOWN,
    Columns,
    Found,
    Named,
    counted,
    found,
    gathered,
    sources,
)
from tunewatch.store.glances import glances

T = TypeVar("T")
_Make: TypeAlias = Callable[[list[int], Found], T]


@dataclass(frozen=True, slots=True)
class Windowed:
    """The jobs of one window."""

    carrier: Carrier
    keys: list[int]  #: in order
    sources: Mapping[int, Named]

    async def rows(self, limit: int) -> list[JobRow]:
        """Return so many jobs in full."""
        parts = self._each(SHOWN, self._rows, self.keys[:limit])
        return [row async for part in parts for row in part]

    async def parts(self, limit: int) -> AsyncIterator[WindowPart]:
        """Yield so many jobs at a glance, and of the others the number."""
        async for jobs in self._each(SHOWN, self._glances, self.keys[:limit]):
            yield WindowPart(jobs, {})
        async for kinds in self._each(COUNTED, self._kinds, self.keys[limit:]):
            yield WindowPart((), kinds)

    def _rows(self, keys: list[int], answer: Found) -> list[JobRow]:
        return _in_order(keys, map(windows.job_rows, gathered(answer, self.sources)))

    def _glances(self, keys: list[int], answer: Found) -> list[JobGlance]:
        return _in_order(keys, map(glances, gathered(answer, self.sources)))

    def _kinds(self, _: list[int], answer: Found) -> Mapping[JobKind, int]:
        return windows.kinds(counted(answer, self.sources))

    async def _each(
        self, columns: Columns, make: _Make[T], keys: list[int]
    ) -> AsyncIterator[T]:
        """Read one part after the other, and make something of each."""
        parts = windows.parts(keys, windows.PART[self.carrier.dialect])
        if self.carrier.dialect == "sqlite":
            for part in parts:
                yield await self._both(columns, make, part)
        elif parts:
            # Its server is another process: it has the next part while one is decoded.
            loop = asyncio.get_running_loop()
            answer = await self._found(columns, parts[0])
            for part, following in zip_longest(parts, parts[1:]):
                making = loop.run_in_executor(None, make, part, answer)
                try:
                    if following is not None:
                        answer = await self._found(columns, following)
                finally:
                    made = await making
                yield made

    async def _found(self, columns: Columns, part: list[int]) -> Found:
        return await self.carrier.read(lambda c: found(c, columns, part))

    async def _both(self, columns: Columns, make: _Make[T], part: list[int]) -> T:
        """Read and make in the thread that reads: a change of threads costs more."""
        return await self.carrier.read(lambda c: make(part, found(c, columns, part)))


def _in_order(keys: list[int], made: Iterable[Mapping[int, T]]) -> list[T]:
    """Return what was made of jobs in the order that was asked for."""
    by_key: dict[int, T] = {}
    for some in made:
        by_key.update(some)
    return [by_key[key] for key in keys if key in by_key]


async def windowed(
    carrier: Carrier, window: Callable[[Connection], list[int]]
) -> Windowed:
    """Read who is in a window."""
    keys, known = await carrier.read(lambda c: (window(c), sources(c)))
    return Windowed(carrier, keys, known)

"""What was asked of a simulated server, so that tests can count it.

Knows no endpoint: a request is matched by a pattern over its method, path and query,
such as `GET */events*`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

_KEPT = 200_000


@dataclass(slots=True, kw_only=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    line: str  #: method, path and query as sent: what patterns are matched with
    key: str  #: the key or token it came with, "" if none
    scheme: Literal["", "bearer", "api-key"]  #: the header that it came in
    at: float  #: monotonic seconds
    simulated: float  #: simulated unix time
    headers: Mapping[str, str]  #: user-agent, openai-organization, openai-project
    status: int | None = None  #: what it was answered; None while it is not, or never


class RequestLog:
    """All requests since the start or the last `clear`, oldest first."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque(maxlen=_KEPT)
        self._came = asyncio.Event()
        self.total = 0  #: since the start, whatever was cleared

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> Request:
        return self._requests[index]

    def add(self, request: Request) -> None:
        """Note a request and wake those who wait for it."""
        self._requests.append(request)
        self.total += 1
        self._came.set()
        self._came = asyncio.Event()

    def clear(self) -> None:
        """Forget the requests so far."""
        self._requests.clear()

    def matching(
        self, pattern: str = "*", *, key: str | None = None, since: float | None = None
    ) -> list[Request]:
        """Return the requests that match, by key and from a monotonic time on."""
        return [
            request
            for request in self._requests
            if fnmatchcase(request.line, pattern)
            and (key is None or request.key == key)
            and (since is None or request.at >= since)
        ]

    def count(
        self, pattern: str = "*", *, key: str | None = None, since: float | None = None
    ) -> int:
        """Return how many requests match."""
        return len(self.matching(pattern, key=key, since=since))

    def busiest(self, seconds: float, pattern: str = "*") -> int:
        """Return the most requests that came within any so many real seconds."""
        most, window = 0, deque[float]()
        for request in self.matching(pattern):
            window.append(request.at)
            while window[0] <= request.at - seconds:
                window.popleft()
            most = max(most, len(window))
        return most

    async def wait_for(
        self, pattern: str = "*", *, times: int = 1, within: float = 10.0
    ) -> list[Request]:
        """Return once so many requests matched. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(found := self.matching(pattern)) < times:
                await self._came.wait()
        return found

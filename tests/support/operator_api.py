"""The real server with the operator API over a real store, in this process."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from support.filled_store import Filling
from tunewatch.api.acting import Acting
from tunewatch.api.stored import Stored
from tunewatch.clock import SystemClock
from tunewatch.config import Address
from tunewatch.store.opening import Store, open_store
from tunewatch.web import Api, Backing, PartState, Readiness, serving
from tunewatch.web.v1.stream import Stream
from tunewatch.web.v1.tail import Tail

LOOPBACK = Address("127.0.0.1", 0)
ROOT = "/api/v1"


class Fine:
    """A daemon that is well."""

    def live(self) -> list[str]:
        return []

    def ready(self) -> Readiness:
        return Readiness(ready=True)

    def sources(self) -> dict[str, PartState]:
        return {}

    def plugins(self) -> dict[str, PartState]:
        return {}


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A configured plugin that wants every event."""

    name: str
    events: tuple[str, ...] = ("*",)
    metadata: dict[str, str] = field(default_factory=dict)

    def hears(self, _source: str) -> bool:
        return True


@dataclass(slots=True)
class Reply:
    """What was answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        """The ids in a list."""
        return [one["id"] for one in self.json["data"]]


@dataclass(slots=True)
class Operator:
    """A client of the API, and the store behind it."""

    store: Store
    filling: Filling
    tail: Tail
    port: int
    session: aiohttp.ClientSession
    origin: str = "http://127.0.0.1"

    @property
    def url(self) -> str:
        return f"{self.origin}:{self.port}"

    async def ask(
        self, path: str, method: str = "GET", data: bytes | None = None, **headers: str
    ) -> Reply:
        """Ask for a path below the root, or with `//` for any path."""
        whole = path[1:] if path.startswith("//") else ROOT + path
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method, self.url + whole, headers=named, data=data
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def problem(
        self, path: str, method: str = "GET", data: bytes | None = None, **headers: str
    ) -> Any:
        """Ask for what has no answer; return the problem document."""
        reply = await self.ask(path, method, data, **headers)
        assert reply.headers["Content-Type"] == "application/problem+json", reply
        assert reply.json["status"] == reply.status
        assert {"type", "title", "detail"} <= reply.json.keys()
        return reply.json

    @asynccontextmanager
    async def follow(self, query: str = "", **headers: str) -> AsyncIterator[Followed]:
        """Follow the event stream."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}{ROOT}/events/stream{query}"
        async with self.session.get(url, headers=named) as answer:
            assert answer.status == 200, await answer.text()
            yield Followed(answer)


@dataclass(slots=True)
class Sent:
    """One block of the stream."""

    id: str | None = None
    event: str = "message"
    data: str | None = None
    comment: str | None = None


@dataclass(slots=True)
class Followed:
    """The stream, block by block, as an EventSource reads it."""

    answer: aiohttp.ClientResponse
    last: str | None = None  #: the id that came last
    seen: list[Sent] = field(default_factory=list)

    async def block(self) -> Sent | None:
        """Return the next block, None at the end."""
        lines: list[str] = []
        while line := (await self.answer.content.readline()).decode():
            if line == "\n":
                return self._block(lines)
            lines.append(line.rstrip("\n"))
        return None

    async def event(self) -> Any:
        """Return the next event's body, or the reason of a reset."""
        async with asyncio.timeout(30):
            while True:
                block = await self.block()
                assert block is not None, "the stream ended"
                if block.data is not None:
                    return json.loads(block.data)

    def _block(self, lines: list[str]) -> Sent:
        sent = Sent()
        for line in lines:
            name, _, value = line.partition(":")
            if name in {"", "id", "event", "data"}:
                setattr(sent, name or "comment", value.removeprefix(" "))
        self.last = sent.id or self.last
        self.seen.append(sent)
        return sent


@asynccontextmanager
async def operator_api(url: str, **options: Any) -> AsyncIterator[Operator]:
    """Serve the API over a new store; see `serving_api`."""
    async with (
        open_store(url, clock=SystemClock(), owner="test") as store,
        serving_api(store, **options) as operator,
    ):
        yield operator


@asynccontextmanager
async def serving_api(
    store: Store,
    *,
    address: Address = LOOPBACK,
    token: Callable[[], str | None] | None = None,
    stream: Stream | None = None,
    tail: Callable[[Store], Tail] = lambda store: Tail(store.reads, every=0.05),
    plugins: tuple[str, ...] = ("ops", "prometheus"),
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[Operator]:
    """Serve the API over a store; `tls` is how its client trusts it."""
    api = Api(stream=stream)
    trust = aiohttp.TCPConnector(ssl=True if tls is None else tls)
    origin = "http://127.0.0.1" if tls is None else "https://localhost"
    async with (
        serving(address, health=Fine(), api=api, token=token, **options) as bound,
        aiohttp.ClientSession(connector=trust) as session,
        asyncio.TaskGroup() as tasks,
    ):
        end = tail(store)
        store.journal.listen(end.woken)
        running = tasks.create_task(end.run(), name="tail")
        reading = Stored(store.reads, store.redeliver, live=Fine())
        acting = Acting(
            reading=reading,
            requests=store.requests,
            redelivering=store.redeliver,
            plugins=[Subscriber(name) for name in plugins],
        )
        api.backing = Backing(reading=reading, acting=acting, tail=end)
        yield Operator(store, Filling(store), end, bound.port, session, origin)
        running.cancel()

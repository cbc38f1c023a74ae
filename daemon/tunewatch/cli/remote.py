"""A daemon as who answers: `api.Reading` over HTTP.

What goes wrong is told as the store would tell it: see `wire`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import yarl
from msgspec import Struct

from tunewatch import __version__
from tunewatch.api.answers import (
    BestAnswer,
    CheckpointList,
    EventList,
    JobAnswer,
    JobList,
    PluginList,
    PointList,
    SchemaList,
    SourceList,
)
from tunewatch.api.answers_deliveries import (
    AuditList,
    DeadLetterList,
    DeliveryAnswer,
    DeliveryList,
    RedeliveryAnswer,
    RedeliveryList,
)
from tunewatch.api.asked import (
    EventsAsked,
    EventsOfJobAsked,
    JobsAsked,
    Nothing,
    OneJobAsked,
    PointsAsked,
)
from tunewatch.api.asked_deliveries import (
    AuditAsked,
    DeadLettersAsked,
    DeliveriesAsked,
    RedeliveriesAsked,
)
from tunewatch.api.operations import ACTIONS, OPERATIONS, ROOT, SPECIAL
from tunewatch.cli.exits import USAGE, Quit
from tunewatch.cli.options import Where
from tunewatch.cli.trust import trust_of
from tunewatch.cli.wire import Unreachable, pairs, refused, unreachable
from tunewatch.settings import Secret

CONNECT = 5.0
"""s to connect."""
WHOLE = 30.0
"""s for a whole answer."""

QUIET = 60.0
"""s without a heartbeat of the stream after which the connection counts as lost."""

AnswerT = TypeVar("AnswerT")

_OPERATIONS = {operation.name: operation for operation in OPERATIONS}
_ACTIONS = {action.name: action for action in ACTIONS}
_SPECIAL = {special.name: special for special in SPECIAL}


class Remote:
    """The daemon at a URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session

    async def jobs(self, asked: JobsAsked) -> JobList:
        """See `Reading.jobs`."""
        return await self._ask("list_jobs", JobList, asked)

    async def job(self, job_id: str, asked: OneJobAsked) -> JobAnswer:
        """See `Reading.job`."""
        return await self._ask("get_job", JobAnswer, asked, job_id)

    async def points(self, job_id: str, asked: PointsAsked) -> PointList:
        """See `Reading.points`."""
        return await self._ask("list_points", PointList, asked, job_id)

    async def checkpoints(self, job_id: str, asked: OneJobAsked) -> CheckpointList:
        """See `Reading.checkpoints`."""
        return await self._ask("list_checkpoints", CheckpointList, asked, job_id)

    async def best(self, job_id: str, asked: OneJobAsked) -> BestAnswer:
        """See `Reading.best`."""
        return await self._ask("get_best", BestAnswer, asked, job_id)

    async def job_events(self, job_id: str, asked: EventsOfJobAsked) -> EventList:
        """See `Reading.job_events`."""
        return await self._ask("list_events_of_job", EventList, asked, job_id)

    async def events(self, asked: EventsAsked) -> EventList:
        """See `Reading.events`."""
        return await self._ask("list_events", EventList, asked)

    async def event(self, event_id: str) -> bytes:
        """See `Reading.event`."""
        path = ROOT + _SPECIAL["event"].path.replace("{id}", quote(event_id, safe=""))
        return await self._get(path, ())

    async def plugins(self) -> PluginList:
        """See `Reading.plugins`."""
        return await self._ask("list_plugins", PluginList, Nothing())

    async def sources(self) -> SourceList:
        """See `Reading.sources`."""
        return await self._ask("list_sources", SourceList, Nothing())

    async def schemas(self) -> SchemaList:
        """See `Reading.schemas`."""
        return await self._ask("list_schemas", SchemaList, Nothing())

    async def deliveries(self, asked: DeliveriesAsked) -> DeliveryList:
        """See `Reading.deliveries`."""
        return await self._ask("list_deliveries", DeliveryList, asked)

    async def delivery(self, delivery_id: str) -> DeliveryAnswer:
        """See `Reading.delivery`."""
        return await self._ask("get_delivery", DeliveryAnswer, Nothing(), delivery_id)

    async def dead_letters(self, asked: DeadLettersAsked) -> DeadLetterList:
        """See `Reading.dead_letters`."""
        return await self._ask("list_dead_letters", DeadLetterList, asked)

    async def redeliveries(self, asked: RedeliveriesAsked) -> RedeliveryList:
        """See `Reading.redeliveries`."""
        return await self._ask("list_redeliveries", RedeliveryList, asked)

    async def redelivery(self, redelivery_id: str) -> RedeliveryAnswer:
        """See `Reading.redelivery`."""
        return await self._ask(
            "get_redelivery", RedeliveryAnswer, Nothing(), redelivery_id
        )

    async def audit(self, asked: AuditAsked) -> AuditList:
        """See `Reading.audit`."""
        return await self._ask("list_audit", AuditList, asked)

    @asynccontextmanager
    async def stream(
        self, asked: Struct, *, last: str | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the event stream behind the event that was had last, as pieces of it.

        Raises Unreachable whenever the connection is lost, Quit if it is refused.
        """
        try:
            async with self._session.get(
                self.url + ROOT + _SPECIAL["stream"].path,
                params=list(pairs(asked)),
                headers={} if last is None else {"Last-Event-ID": last},
                timeout=aiohttp.ClientTimeout(connect=CONNECT, sock_read=QUIET),
            ) as response:
                if response.status != 200:
                    raise refused(self.url, response, await response.read())
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.url, error) from None

    async def act(self, name: str, about: str, body: Struct | None = None) -> bytes:
        """Have something done; return what is answered."""
        path = _ACTIONS[name].path.replace("{id}", quote(about, safe=""))
        data = None if body is None else msgspec.json.encode(body)
        return await self._exchange("POST", ROOT + path, (), data)

    async def _ask(
        self, name: str, kind: type[AnswerT], asked: Struct, job_id: str = ""
    ) -> AnswerT:
        path = _OPERATIONS[name].path.replace("{id}", quote(job_id, safe=""))
        body = await self._get(ROOT + path, pairs(asked))
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError:
            raise Unreachable(
                f"what {self.url} answers is nothing that this version understands: "
                "compare `tunewatch version` there and here"
            ) from None

    async def _get(self, path: str, params: Iterable[tuple[str, str]]) -> bytes:
        return await self._exchange("GET", path, params, None)

    async def _exchange(
        self,
        method: str,
        path: str,
        params: Iterable[tuple[str, str]],
        data: bytes | None,
    ) -> bytes:
        url = yarl.URL(self.url + path, encoded=True).with_query(list(params))
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
                if response.status in {200, 202}:
                    return body
                raise refused(self.url, response, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.url, error) from None


@asynccontextmanager
async def remote(where: Where, environ: Mapping[str, str]) -> AsyncIterator[Remote]:
    """Open a daemon to be asked. Raises Quit if URL or token cannot be right."""
    url = (where.url or "").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise Quit(USAGE, "--url wants an address such as http://127.0.0.1:9478")
    if parts.username is not None or parts.password is not None:
        raise Quit(
            USAGE,
            "--url wants an address without a name and password, which would stand in "
            "the list of processes: give a token with --token-file or $TUNEWATCH_TOKEN",
        )
    token = _token(where, environ)
    headers = {"User-Agent": f"tunewatch/{__version__}", "Accept": "*/*"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    timeout = aiohttp.ClientTimeout(total=WHOLE, connect=CONNECT)
    connector = aiohttp.TCPConnector(ssl=trust_of(where.papers))
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, trust_env=True, connector=connector
    ) as session:
        yield Remote(session, url)


def _token(where: Where, environ: Mapping[str, str]) -> str | None:
    if where.token_file is None:
        return environ.get("TUNEWATCH_TOKEN", "").strip() or None
    token = Secret.from_file(where.token_file).get()
    if token is None:
        raise Quit(
            USAGE,
            f"wanted a token in {where.token_file} (--token-file); found nothing that "
            "can be read there",
        )
    return token

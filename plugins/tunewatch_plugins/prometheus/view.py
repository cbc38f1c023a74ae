"""The view: reads the state for each answer, lets it be rendered, and keeps nothing.

Reading and rendering go part by part, one answer at a time, the work in a thread: the
event loop has others to serve, and ten scrapers at once need no more memory than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

from prometheus_client.exposition import choose_encoder

from tunewatch.plugin import Answer, Context, Plugin, Route, View, WindowPart
from tunewatch_plugins.prometheus.answering import Body
from tunewatch_plugins.prometheus.exposition import gauge, names_in
from tunewatch_plugins.prometheus.models import ShownModels
from tunewatch_plugins.prometheus.negotiation import OPENMETRICS, PLAIN, Wanted, wanted
from tunewatch_plugins.prometheus.rendering import Rendering, Totals
from tunewatch_plugins.prometheus.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 8.0
"""Seconds to read the state: Prometheus itself gives up after 10."""

_EOF = b"# EOF\n"
_STOPPING = Answer(body=b"it is stopping\n", content_type="text/plain", status=503)


class _Unreadable(NamedTuple):
    """The state cannot be read: the store's faults are none of the contract's."""

    reason: str


class Metrics:
    """Answers `/metrics` from the state as it is.

    Without a thread of its own it borrows one of the event loop's.
    """

    def __init__(
        self, settings: Settings, context: Context, thread: Executor | None = None
    ) -> None:
        self._settings = settings
        self._context = context
        self._thread = thread
        self._models = ShownModels()
        self._turn = asyncio.Lock()
        self._trouble: str | None = None
        self._taken: set[str] = set()
        self._is_closed = False

    def routes(self) -> Iterable[Route]:
        """Return the one path it answers."""
        return (Route(path="/metrics", respond=self.respond),)

    async def respond(self, headers: Mapping[str, str]) -> Answer:
        """Return every metric in the format that the headers prefer.

        If the state cannot be read the daemon's own metrics are answered all the same,
        because that is when somebody looks at them.
        """
        asked = wanted(headers)
        async with self._turn:
            if self._is_closed:
                return _STOPPING
            own = await self._in_thread(self._daemons_own, asked)
            body = await self._written(asked, names_in(own))
            end = own + _EOF if asked.is_openmetrics else own
            whole = await self._in_thread(body.whole, end)
        encoding = {"Content-Encoding": "gzip"} if asked.is_gzip else {}
        return Answer(
            body=whole,
            content_type=asked.content_type,
            headers={"Vary": "Accept, Accept-Encoding", **encoding},
        )

    async def close(self) -> None:
        """Let an answer that was begun be finished; begin none any more."""
        async with self._turn:
            self._is_closed = True

    async def _in_thread(
        self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args, **kwargs))

    def _daemons_own(self, asked: Wanted) -> bytes:
        encode, _ = choose_encoder(OPENMETRICS if asked.is_openmetrics else PLAIN)
        return encode(self._context.registry).removesuffix(_EOF)

    async def _written(self, asked: Wanted, taken: frozenset[str]) -> Body:
        """Return an answer with what is to be shown of jobs."""
        body = self._body(asked, taken)
        trouble: str | None = None
        try:
            async with asyncio.timeout(_PATIENCE):
                if (fault := await self._write_jobs(body, asked)) is not None:
                    trouble = fault.reason
        except TimeoutError:
            trouble = "TimeoutError"
        if trouble is None:
            self._trouble_ended()
        else:
            # An answer without jobs says more than none.
            self._trouble_began(trouble)
            body = self._body(asked, taken)
        told = "1 if the jobs could be read for this very answer, else 0."
        body.add(*gauge("tunewatch_jobs_readable", told, int(trouble is None)))
        return body

    async def _write_jobs(self, body: Body, asked: Wanted) -> _Unreadable | None:
        """Write what is to be shown of jobs, or return why that cannot be read."""
        settings = self._settings
        parts = self._context.jobs.window_parts(
            finished_within=settings.window, limit=settings.max_jobs
        )
        async with asyncio.TaskGroup() as tasks:
            # One part is read while the one before is rendered, the first with totals.
            ahead = tasks.create_task(_next(parts), name="metrics.read")
            totals = await self._totals()
            if isinstance(totals, _Unreadable):
                ahead.cancel()
                return totals
            rendering = await self._in_thread(
                Rendering,
                settings,
                self._models,
                totals,
                body,
                with_exemplars=asked.is_openmetrics,
            )
            while isinstance(part := await ahead, WindowPart):
                ahead = tasks.create_task(_next(parts), name="metrics.read")
                await self._in_thread(rendering.add, part)
        await self._in_thread(rendering.finish)
        return part

    async def _totals(self) -> Totals | _Unreadable:
        jobs = self._context.jobs
        try:
            return Totals(
                await jobs.sources(),
                await jobs.counts(),
                are_known=not self._context.metadata,
            )
        except Exception as fault:  # noqa: BLE001 - see `_Unreadable`
            return _Unreadable(type(fault).__name__)

    def _trouble_began(self, reason: str) -> None:
        if reason != self._trouble:
            self._context.log.warning("jobs.unreadable", reason=reason)
        self._trouble = reason

    def _trouble_ended(self) -> None:
        if self._trouble is not None:
            self._context.log.info("jobs.readable", after=self._trouble)
        self._trouble = None

    def _body(self, asked: Wanted, taken: frozenset[str]) -> Body:
        def is_taken(name: str) -> bool:
            # A name that appears twice would spoil the whole answer.
            if name in taken and name not in self._taken:
                self._context.log.warning("metric.name_taken", metric=name)
                self._taken.add(name)
            return name in taken

        return Body(asked, is_taken)


async def _next(
    parts: AsyncIterator[WindowPart],
) -> WindowPart | _Unreadable | None:
    """Return the next part, None after the last one; a fault is returned, too."""
    try:
        return await anext(parts, None)
    except Exception as fault:  # noqa: BLE001 - see `_Unreadable`
        return _Unreadable(type(fault).__name__)


@asynccontextmanager
async def open_view(settings: Settings, context: Context) -> AsyncIterator[View]:
    """Lend the view, with a thread of its own."""
    for key, label in settings.renamed_labels:
        context.log.warning("metadata_label.renamed", key=key, label=label)
    thread = ThreadPoolExecutor(1, "metrics")
    metrics = Metrics(settings, context, thread)
    try:
        yield metrics
    finally:
        await metrics.close()
        await asyncio.to_thread(thread.shutdown)


PLUGIN = Plugin(settings=Settings, events=(), open=open_view)

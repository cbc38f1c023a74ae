"""Puts the answer together: series of jobs, totals, and the daemon's own metrics.

Thousands of jobs are rendered in parts, with room for the event loop between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from prometheus_client.exposition import choose_encoder

from tunewatch.plugin import Answer, Context, Count, JobRow, Plugin, Route, View
from tunewatch_plugins.prometheus.best import BEST
from tunewatch_plugins.prometheus.exposition import (
    OPENMETRICS,
    PLAIN,
    Family,
    encoded,
    gauge,
    is_openmetrics_wanted,
    names_in,
)
from tunewatch_plugins.prometheus.gauges import CURVES, PROGRESS, TIMES
from tunewatch_plugins.prometheus.jobs import (
    InfoSeries,
    JobSeries,
    StatusSeries,
    job_labels,
)
from tunewatch_plugins.prometheus.models import ShownModels
from tunewatch_plugins.prometheus.settings import Settings
from tunewatch_plugins.prometheus.tally import Tally
from tunewatch_plugins.prometheus.totals import stored_totals

_AT_ONCE = 100
"""Jobs rendered before the event loop gets its turn: about 3 ms of work."""

_MOST_READ = 100_000
"""A bound on memory; jobs beyond it are not even counted as hidden."""

_PATIENCE = 8.0
"""Seconds to read the state: Prometheus itself gives up after 10."""

_EOF = b"# EOF\n"


class _State(NamedTuple):
    rows: Sequence[JobRow]
    counts: Sequence[Count]


class Metrics:
    """Answers `/metrics` from the state as it is."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._models = ShownModels()
        self._series: tuple[JobSeries, ...] = (
            InfoSeries(self._models, settings.metadata_labels),
            StatusSeries(sparse=settings.sparse_status),
            *TIMES,
            *PROGRESS,
            *CURVES,
            *BEST,
        )
        self._trouble: str | None = None
        self._taken: set[str] = set()

    def routes(self) -> Iterable[Route]:
        """Return the one path it answers."""
        return (Route(path="/metrics", respond=self.respond),)

    async def respond(self, headers: Mapping[str, str]) -> Answer:
        """Return every metric in the format that the headers prefer.

        If the state cannot be read the daemon's own metrics are answered all the same,
        because that is when somebody looks at them.
        """
        openmetrics = is_openmetrics_wanted(headers.get("accept", ""))
        own = self._daemons_own(openmetrics=openmetrics)
        state = await self._read()
        families = [] if state is None else await self._families(state)
        families.append(
            gauge(
                "tunewatch_jobs_readable",
                "1 if the jobs could be read for this very answer, else 0.",
                int(state is not None),
            )
        )
        pieces: list[bytes] = []
        for family in self._not_taken(families, names_in(own)):
            pieces += (family.head(openmetrics=openmetrics), *family.samples)
        pieces.append(own)
        if openmetrics:
            pieces.append(_EOF)
        return Answer(
            body=b"".join(pieces), content_type=OPENMETRICS if openmetrics else PLAIN
        )

    def _daemons_own(self, *, openmetrics: bool) -> bytes:
        encode, _ = choose_encoder(OPENMETRICS if openmetrics else PLAIN)
        return encode(self._context.registry).removesuffix(_EOF)

    async def _read(self) -> _State | None:
        jobs, window = self._context.jobs, self._settings.window
        try:
            async with asyncio.timeout(_PATIENCE):
                rows = await jobs.window(finished_within=window, limit=_MOST_READ)
                counts = await jobs.counts()
        # The store's faults are none of the contract's, and an answer without
        # jobs says more than none.
        except Exception as fault:  # noqa: BLE001
            self._trouble_began(type(fault).__name__)
            return None
        self._trouble_ended()
        return _State(rows, counts)

    def _trouble_began(self, reason: str) -> None:
        if reason != self._trouble:
            self._context.log.warning("jobs.unreadable", reason=reason)
        self._trouble = reason

    def _trouble_ended(self) -> None:
        if self._trouble is not None:
            self._context.log.info("jobs.readable", after=self._trouble)
        self._trouble = None

    async def _families(self, state: _State) -> list[Family]:
        rows, settings = state.rows, self._settings
        tally = Tally(state.counts, self._models)
        for part in _parts(rows):
            tally.add(part)
            await asyncio.sleep(0)
        shown = self._shown(rows)
        return [
            *await self._job_families(shown),
            tally.family(),
            gauge(
                "tunewatch_jobs_hidden",
                "Jobs without series of their own, because there are too many.",
                len(rows) - len(shown),
            ),
            gauge(
                "tunewatch_series_limit",
                "Most jobs that get series of their own, setting max_jobs.",
                settings.max_jobs,
            ),
            *stored_totals(state.counts, tally.kinds, self._models),
        ]

    def _shown(self, rows: Sequence[JobRow]) -> Sequence[JobRow]:
        most = self._settings.max_jobs
        if len(rows) <= most:
            return rows
        # The sort is stable: newest first within both.
        return sorted(rows, key=lambda row: row.job.state.is_terminal)[:most]

    async def _job_families(self, rows: Sequence[JobRow]) -> list[Family]:
        families = [Family(s.name, "gauge", s.help, []) for s in self._series]
        for rows_of_part in _parts(rows):
            part = [(job_labels(row), row) for row in rows_of_part]
            for series, family in zip(self._series, families, strict=True):
                family.samples.append(encoded(series.lines(part)))
            await asyncio.sleep(0)
        return families

    def _not_taken(
        self, families: Iterable[Family], taken: frozenset[str]
    ) -> Iterable[Family]:
        """Yield what has samples and no name of the daemon's own."""
        for family in families:
            if family.name in taken:
                # A name that appears twice would spoil the whole answer.
                if family.name not in self._taken:
                    self._context.log.warning("metric.name_taken", metric=family.name)
                self._taken.add(family.name)
            elif any(family.samples):
                yield family


def _parts(rows: Sequence[JobRow]) -> Iterable[Sequence[JobRow]]:
    return (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE))


@asynccontextmanager
async def open_view(settings: Settings, context: Context) -> AsyncIterator[View]:
    """Lend the view; it holds nothing that would have to be closed."""
    yield Metrics(settings, context)


PLUGIN = Plugin(settings=Settings, events=(), open=open_view)

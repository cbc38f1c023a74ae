"""Puts one answer together, part by part: series of jobs, aggregates, totals.

All of it runs in a thread, a few milliseconds at a time, and knows no event loop. When
it is finished nothing of it is left but the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tunewatch.plugin import Count, WindowPart
from tunewatch_plugins.prometheus.answering import Body
from tunewatch_plugins.prometheus.best import BEST
from tunewatch_plugins.prometheus.cost import Prices
from tunewatch_plugins.prometheus.durations import histograms
from tunewatch_plugins.prometheus.exemplars import Exemplars
from tunewatch_plugins.prometheus.exposition import Family, encoded, gauge
from tunewatch_plugins.prometheus.gauges import CURVES, PROGRESS, TIMES
from tunewatch_plugins.prometheus.jobs import (
    InfoSeries,
    JobSeries,
    Part,
    StatusSeries,
    part_of,
)
from tunewatch_plugins.prometheus.models import ShownModels
from tunewatch_plugins.prometheus.settings import Settings
from tunewatch_plugins.prometheus.tally import Tally
from tunewatch_plugins.prometheus.totals import counters, shown_totals

_AT_ONCE = 800
"""Jobs whose lines are made together: a few milliseconds, and little memory."""


class Totals(NamedTuple):
    """What is known before the first job is read."""

    sources: Sequence[str]
    counts: Sequence[Count]
    are_known: bool = True  #: not so of jobs with some metadata alone


class Rendering:
    """Everything about jobs in one answer, in the making."""

    def __init__(
        self,
        settings: Settings,
        models: ShownModels,
        totals: Totals,
        body: Body,
        *,
        with_exemplars: bool,
    ) -> None:
        """Begin to write into a body."""
        self._settings = settings
        self._totals = totals
        self._body = body
        self._tally = tally = Tally(totals.counts, models)
        self._exemplars = Exemplars()
        self._with_exemplars = with_exemplars
        self._hidden = 0
        series: tuple[JobSeries, ...] = (
            InfoSeries(tally.base_model, settings.names_of_metadata),
            StatusSeries(sparse=settings.sparse_status),
            *TIMES,
            *PROGRESS,
            *CURVES,
            *BEST,
        )
        self._series = [
            (one, body.sheet(Family(one.name, "gauge", one.help))) for one in series
        ]

    def add(self, part: WindowPart) -> None:
        """Take in some jobs; they are not kept."""
        for at in range(0, len(part.jobs), _AT_ONCE):
            self._add(part_of(part.jobs[at : at + _AT_ONCE]))
        self._tally.add_hidden(part.hidden)
        self._hidden += sum(part.hidden.values())

    def _add(self, jobs: Part) -> None:
        self._tally.add(jobs)
        if self._with_exemplars:
            for job, state in zip(jobs.jobs, jobs.states, strict=True):
                if state.is_terminal:
                    self._exemplars.note(job, state, self._tally.kind_of(job))
        for series, sheet in self._series:
            lines = series.lines(jobs)
            if lines:
                sheet.write(encoded(lines))

    def finish(self) -> None:
        """Write what is told of all jobs together."""
        for family, lines in self._aggregates():
            self._body.add(family, lines)

    def _aggregates(self) -> Iterable[tuple[Family, str]]:
        tally, kinds, exemplars = self._tally, self._tally.kinds, self._exemplars
        yield tally.family()
        yield gauge(
            "tunewatch_jobs_hidden",
            "Jobs without series of their own, because there are too many.",
            self._hidden,
        )
        yield gauge(
            "tunewatch_series_limit",
            "Most jobs that get series of their own, setting max_jobs.",
            self._settings.max_jobs,
        )
        if not self._totals.are_known:
            return
        totals = shown_totals(self._totals.counts, tally)
        yield from counters(totals, self._totals.sources, kinds, exemplars)
        yield from histograms(totals, kinds, exemplars)
        prices = Prices(self._settings.prices)
        yield from prices.cost(totals.get("trained_tokens", {}), kinds)

"""`/metrics` asked for as Prometheus does, over jobs made by hand, and parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from support.readers import HandmadeJobs, lent_context
from tunewatch.plugin import Count, JobRow
from tunewatch_plugins.prometheus import Metrics, Settings

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
MINI = "gpt-4o-mini-2024-07-18"
FINISHED = "tunewatch_jobs_finished_total"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """An answer, parsed by the library's own parsers."""

    def __init__(self, body: bytes, *, openmetrics: bool = False) -> None:
        self.text = body.decode()
        parse: Any = parse_openmetrics if openmetrics else parse_text
        self.families = list(parse(self.text))
        self.samples: Samples = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def of(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        return {k: v for (found, k), v in self.samples.items() if found == name}

    def one(self, name: str, **labels: str) -> float:
        wanted = labels.items()
        found = [v for k, v in self.of(name).items() if wanted <= k]
        assert len(found) == 1, f"{name}: {self.of(name)}"
        return found[0]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(k) for k in self.of(name)]


class Scraper:
    """The view with jobs made by hand."""

    def __init__(
        self,
        home: Path,
        *rows: JobRow,
        registry: CollectorRegistry | None = None,
        **settings: Any,
    ) -> None:
        self.jobs = HandmadeJobs()
        self.jobs.rows = rows
        context = lent_context(self.jobs, home, registry=registry)
        self.metrics = Metrics(Settings(**settings), context)

    async def scrape(self, headers: Mapping[str, str] | None = None) -> Scrape:
        answer = await self.metrics.respond(headers or {})
        assert answer.status == 200
        openmetrics = answer.content_type.startswith("application/openmetrics-text")
        return Scrape(answer.body, openmetrics=openmetrics)


def is_of_a_job(labels: Iterable[tuple[str, str]]) -> bool:
    return "job_id" in dict(labels)


def finished(value: float, **labels: str) -> Count:
    """Return a total as the store counts it."""
    kind = {"source": "research", "base_model": MINI, "method": "dpo"}
    said = {**kind, "status": "failed", "error_code": "", **labels}
    return Count(name="jobs_finished", labels=said, value=value)

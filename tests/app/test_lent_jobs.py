"""A plugin is lent the jobs of its table: `sources` and `metadata` hold for views, too.

Seen by what the one view that is built in, `/metrics`, shows of a real store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from support.scraping import Scrape
from support.stores import REALM, T0, Desk, decode_job, open_desk, raw_job
from tunewatch.app.contexts import Contexts
from tunewatch.app.parts import Parts
from tunewatch.host import Instance
from tunewatch_plugins.prometheus import PLUGIN, Settings

NOW = int(T0)


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    """Two sources with jobs of two teams, the newest first in every list."""
    async with open_desk(store_url) as desk:
        other = await desk.store.sources.contact("product", "openai", f"{REALM}/other")
        held = await desk.store.leases.acquire(other.id)
        assert held is not None
        jobs = {"a1": "a", "b1": "b", "a2": "a", "a3": "a", "none": None}
        for n, (name, team) in enumerate(jobs.items()):
            said = {"created_at": NOW + n, "metadata": {"team": team} if team else None}
            await desk.saw(name, raw=raw_job(name, **said))
        for name in ("p1", "p2"):
            raw = raw_job(name, "succeeded", finished_at=NOW, metadata={"team": "a"})
            look = desk.look(name, raw=raw)
            await desk.store.journal.commit(held, [look], decode=decode_job)
        yield desk


async def scrape(desk: Desk, home: Any, table: dict[str, Any], **keys: Any) -> Scrape:
    parts = SimpleNamespace(store=desk.store, clock=desk.clock)
    ids = [row.id for row in await desk.store.sources.all()]
    contexts = Contexts(
        parts=cast(Parts, parts),
        state=f"sqlite:///{home}/state.db",
        held=lambda: ids,
    )
    settings = Settings(**keys)
    instance = Instance(
        name="prometheus",
        kind="prometheus",
        plugin=PLUGIN,
        settings=settings,
        events=(),
        **table,
    )
    context = contexts.of(instance, CollectorRegistry())
    async with PLUGIN.open(settings, context) as view:
        (route,) = view.routes()
        return Scrape((await route.respond({})).body)


def shown(found: Scrape) -> set[str]:
    return {labels["job_id"] for labels in found.labels("tunewatch_job_info")}


async def test_without_a_word_all_jobs_are_shown(desk, tmp_path):
    found = await scrape(desk, tmp_path, {})
    assert shown(found) == {"a1", "b1", "a2", "a3", "none", "p1", "p2"}
    assert sum(found.of("tunewatch_jobs").values()) == 7
    sources = {one["source"] for one in found.labels("tunewatch_jobs_discovered_total")}
    assert sources == {"research", "product"}


async def test_only_the_named_sources_are_shown_in_series_and_in_totals(desk, tmp_path):
    found = await scrape(desk, tmp_path, {"sources": ("prod*",)})
    assert shown(found) == {"p1", "p2"}
    assert sum(found.of("tunewatch_jobs").values()) == 2
    assert found.one("tunewatch_jobs_discovered_total", source="product") == 2
    named = [one["source"] for name, one in labels_of(found) if "source" in one]
    assert named
    assert set(named) == {"product"}
    nothing = await scrape(desk, tmp_path, {"sources": ("elsewhere",)})
    assert shown(nothing) == set()
    assert nothing.one("tunewatch_jobs_readable") == 1


async def test_only_jobs_with_the_metadata_are_shown_and_no_totals_of_others(
    desk, tmp_path
):
    table = {"metadata": {"team": "a"}}
    found = await scrape(desk, tmp_path, table)
    assert shown(found) == {"a1", "a2", "a3", "p1", "p2"}
    assert sum(found.of("tunewatch_jobs").values()) == 5
    # Totals are of all jobs of a source: a number that counts others would be wrong.
    assert not [name for name, _ in labels_of(found) if name.endswith("_total")]
    assert not [name for name, _ in labels_of(found) if "_bucket" in name]
    few = await scrape(desk, tmp_path, table, max_jobs=2)
    assert shown(few) == {"a3", "a2"}
    assert few.one("tunewatch_jobs_hidden") == 3
    assert sum(few.of("tunewatch_jobs").values()) == 5
    both = {"sources": ("product",), "metadata": {"team": "b"}}
    assert shown(await scrape(desk, tmp_path, both)) == set()


def labels_of(found: Scrape) -> list[tuple[str, dict[str, str]]]:
    return [(name, dict(labels)) for name, labels in found.samples]

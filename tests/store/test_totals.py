"""Totals grow in the commit that tells: ends, durations, tokens, unheard-of words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.stores import REALM, T0, Desk, message, metrics, open_desk, raw_job
from tunewatch.model import Entry
from tunewatch.store.counters import MOST_MODELS

NOW = int(T0)
KIND = {"base_model": "gpt-4o", "method": "supervised"}


@pytest.fixture
async def desk(store_url: str) -> AsyncIterator[Desk]:
    async with open_desk(store_url) as desk:
        yield desk


async def totals(desk: Desk, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Return a total of the source by its other labels."""
    return {
        frozenset(count.labels.items() - {("source", "research")}): count.value
        for count in await desk.store.reads.counts()
        if count.name == name
    }


def labels(**said: str) -> frozenset[tuple[str, str]]:
    return frozenset(said.items())


async def ends(
    desk: Desk, job_id: str, status: str = "succeeded", **fields: Any
) -> None:
    fields = {"model": "gpt-4o", "finished_at": NOW + 900, **fields}
    await desk.saw(job_id, raw=raw_job(job_id, status, **fields))


async def test_an_end_counts_how_long_the_job_took_and_waited(desk):
    # The desk sees it running when it was created: a point tells when training began.
    await desk.saw("a", raw=raw_job("a", "queued", model="gpt-4o"))
    await desk.saw("a", entries=(metrics(70, 1, train_loss=0.5),))
    await ends(desk, "a")
    end = {**KIND, "status": "succeeded"}
    assert await totals(desk, "job_duration_seconds_bucket") == {
        labels(**end, le="1200"): 1
    }
    assert await totals(desk, "job_duration_seconds_sum") == {labels(**end): 900}
    assert await totals(desk, "job_queue_seconds_bucket") == {
        labels(**end, le="120"): 1
    }
    assert await totals(desk, "job_queue_seconds_sum") == {labels(**end): 70}


@pytest.mark.parametrize(
    ("took", "le"),
    [(0, "60"), (60, "60"), (61, "120"), (86_400, "86400"), (86_401, "+Inf")],
)
async def test_a_duration_falls_into_the_lowest_bucket_that_holds_it(desk, took, le):
    await ends(desk, "a", finished_at=NOW + took)
    (found,) = await totals(desk, "job_duration_seconds_bucket")
    assert ("le", le) in found


async def test_what_nobody_dated_has_no_duration(desk):
    await ends(desk, "a", "failed", finished_at=None)
    await ends(desk, "b", "cancelled", created_at=None)
    await ends(desk, "c", finished_at=NOW - 1, created_at=NOW)
    assert sum((await totals(desk, "jobs_finished")).values()) == 2
    assert await totals(desk, "job_duration_seconds_sum") == {}
    assert await totals(desk, "job_queue_seconds_sum") == {}


async def test_what_ended_before_first_contact_is_no_end_of_today(desk):
    await ends(desk, "a", "failed", finished_at=NOW - 3600, trained_tokens=7)
    assert await totals(desk, "jobs_finished") == {}
    assert await totals(desk, "job_transitions") == {}
    assert await totals(desk, "job_duration_seconds_sum") == {}
    assert await totals(desk, "trained_tokens") == {}
    assert sum((await totals(desk, "jobs_discovered")).values()) == 1


async def test_tokens_are_counted_once_whenever_they_are_said(desk):
    await desk.saw("a", raw=raw_job("a", model="gpt-4o"))
    await desk.saw("a", raw=raw_job("a", model="gpt-4o", trained_tokens=100))
    await desk.saw("a", raw=raw_job("a", model="gpt-4o", trained_tokens=250))
    await ends(desk, "a", trained_tokens=250)
    assert await totals(desk, "trained_tokens") == {labels(**KIND): 250}
    # It goes on after all and ends again: what it said before is forgotten by then.
    again = raw_job("a", model="gpt-4o")
    await desk.saw("a", raw=again)
    await desk.saw("a", raw=again, confirmed=True)
    await ends(desk, "a", trained_tokens=250, finished_at=NOW + 1800)
    assert await totals(desk, "trained_tokens") == {labels(**KIND): 250}
    await ends(desk, "a", trained_tokens=300, finished_at=NOW + 1800)
    assert await totals(desk, "trained_tokens") == {labels(**KIND): 300}


async def test_words_that_nobody_has_heard_of_are_counted_by_their_kind(desk):
    method = {"type": "orpo", "orpo": {}}
    await desk.saw("a", raw=raw_job("a", "distilling", method=method))
    odd = Entry(id="ev-1", created_at=NOW, type="weather", message="rain")
    await desk.saw("a", entries=(odd, message(2)))
    await desk.saw("a", entries=(metrics(3, 1, train_loss=0.5, perplexity=9.0),))
    await desk.saw("a", entries=(metrics(4, 2, train_loss=0.4, perplexity=8.0),))
    nested = {"scores.graders.mine.train_reward_mean": 0.5, "errors/graders/x": 0.0}
    await desk.saw("a", entries=(metrics(5, 3, **nested),))
    assert await totals(desk, "unknown_values") == {
        labels(kind=kind): 1 for kind in ("status", "method", "event_type", "metric")
    }
    assert await totals(desk, "job_transitions") == {labels(to="unknown"): 1}
    told = await totals(desk, "events")
    assert told[labels(type="fine_tuning.job.unknown")] == 1


async def test_a_word_that_is_known_is_not_counted_as_unknown(desk):
    await desk.saw("a", raw=raw_job("a", "queued"), entries=(message(1),))
    await desk.saw("a", entries=(metrics(2, 1, train_loss=0.5, full_valid_loss=0.4),))
    await ends(desk, "a")
    assert await totals(desk, "unknown_values") == {}


async def test_labels_are_few_whatever_jobs_are_called(desk):
    seen = [
        desk.look(
            f"j{n}",
            raw=raw_job(
                f"j{n}",
                "failed",
                model=f"home-made-{n}",
                method={"type": f"method-{n}"},
                error={"code": f"code-{n}", "message": "m"},
                finished_at=NOW + 60,
            ),
        )
        for n in range(MOST_MODELS + 20)
    ]
    await desk.commit(*seen[: MOST_MODELS - 1])
    await desk.commit(*seen[MOST_MODELS - 1 :])
    found = await totals(desk, "jobs_finished")
    said = [dict(one) for one in found]
    assert len({one["base_model"] for one in said}) == MOST_MODELS + 1
    assert {one["method"] for one in said} == {"other"}
    assert {one["error_code"] for one in said} == {"other"}
    assert max(found.values()) == 20
    # Azure's fine-tuned models are no base models of their own.
    await ends(desk, "z", model="home-made-1.ft-0ab3f80e4f22-suffix")
    assert ("base_model", "home-made-1") in {
        pair for one in await totals(desk, "jobs_finished") for pair in one
    }


async def test_totals_are_kept_across_a_restart(store_url):
    async with open_desk(store_url) as desk:
        await ends(desk, "a", trained_tokens=5)
        before = await desk.store.reads.counts()
    async with open_desk(store_url) as desk:
        assert await desk.store.reads.counts() == before
        await ends(desk, "b", trained_tokens=6)
        assert await totals(desk, "trained_tokens") == {labels(**KIND): 11}


async def test_totals_can_be_asked_for_some_sources_alone(desk):
    await desk.saw("a", raw=raw_job("a"))
    reads, mine = desk.store.reads, desk.source.id
    other = await desk.store.sources.contact("other", "openai", REALM + "/other")
    assert await reads.counts([other.id]) == []
    assert await reads.counts([]) == []
    assert await reads.counts([mine]) == await reads.counts()

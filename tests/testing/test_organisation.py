"""The organisation of the demonstration: its opening act, its past and its future."""

from __future__ import annotations

import pytest

from support.simulated import START, client_of, still_api
from tunewatch.testing import PROJECT_KEYS, Organisation, SimulatedApi, SimulatedClock


def moved_in(**settings):
    api, organisation = still_api(), Organisation(keys=("sk-all",), **settings)
    organisation.move_into(api)
    return api, organisation


def test_the_opening_act_is_over_within_two_minutes_at_sixtyfold_speed():
    _, organisation = moved_in()
    for job in organisation.opening.values():
        assert job.settles_at is not None
        assert job.settles_at - START < 110 * 60


def test_the_opening_act_shows_each_kind_of_life_once():
    _, organisation = moved_in()
    shown = {
        what: (
            job.scripted.script.method,
            job.scripted.life.phases[-1].status,
            "paused" in {phase.status for phase in job.scripted.life.phases},
            "running" in {phase.status for phase in job.scripted.life.phases},
        )
        for what, job in organisation.opening.items()
    }
    assert shown == {
        "converges": ("supervised", "succeeded", False, True),
        "over-fits": ("supervised", "succeeded", False, True),
        "fails validation": ("supervised", "failed", False, False),
        "prefers": ("dpo", "succeeded", False, True),
        "fails mid-run": ("supervised", "failed", False, True),
        "is rewarded": ("reinforcement", "succeeded", False, True),
        "is cancelled": ("supervised", "cancelled", False, True),
        "is paused": ("supervised", "succeeded", True, True),
    }


@pytest.mark.parametrize(
    ("act", "best_is_last"), [("converges", True), ("over-fits", False)]
)
async def test_the_best_checkpoint_is_last_only_where_the_job_converged(
    act, best_is_last
):
    api, organisation = moved_in()
    job = organisation.opening[act]
    api.clock.advance_to(job.settles_at)
    async with client_of(api, key="sk-all") as client:
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
        told = client.fine_tuning.jobs.list_events(job.id, limit=100)
        data = [event.data async for event in told if event.type == "metrics"]
    full = {
        point["step"]: point["full_valid_loss"]
        for point in data
        if "full_valid_loss" in point
    }
    listed = [point.step_number for point in saved.data]
    best = min(listed, key=full.__getitem__)
    assert (best == listed[0]) is best_is_last


async def test_jobs_keep_coming_as_simulated_time_passes_and_the_same_for_a_seed():
    async def told(seed: int) -> list[tuple[str, str]]:
        api, _ = moved_in(seed=seed, jobs_per_hour=10)
        api.clock.advance(5 * 3600)
        async with client_of(api, key="sk-all") as client:
            listed = client.fine_tuning.jobs.list(limit=100)
            return [(job.id, job.status) async for job in listed]

    once = await told(1)
    assert 12 + 8 + 30 <= len(once) <= 12 + 8 + 70
    assert once == await told(1) != await told(2)
    assert {"running", "succeeded", "failed"} <= {status for _, status in once}


async def test_nothing_comes_while_time_stands_still():
    api, _ = moved_in(jobs_per_hour=1000)
    async with client_of(api, key="sk-all") as client:
        first = await client.fine_tuning.jobs.list(limit=100)
        second = await client.fine_tuning.jobs.list(limit=100)
    assert len(first.data) == len(second.data) == 12 + 1


async def test_each_project_has_a_key_of_its_own_and_its_own_families():
    api = still_api()
    Organisation().move_into(api)
    api.clock.advance(600)
    seen = {}
    for project, key in PROJECT_KEYS.items():
        async with client_of(api, key=key) as client:
            page = await client.fine_tuning.jobs.list(limit=100)
            seen[project] = {job.metadata["team"] for job in page.data}
    assert seen == {
        "contract-review": {"legal"},
        "search-quality": {"search"},
        "support-assistant": {"support"},
    }


async def test_at_sixtyfold_speed_no_stamp_is_ahead_of_our_clock():
    ours = [0.0]
    clock = SimulatedClock(start=START, scale=60, monotonic=lambda: ours[0])
    api = SimulatedApi(clock=clock)
    organisation = Organisation(keys=("sk-all",))
    organisation.move_into(api)
    ours[0] = 120.0
    async with client_of(api, key="sk-all") as client:
        page = await client.fine_tuning.jobs.list(limit=100)
        events = await client.fine_tuning.jobs.list_events(
            organisation.opening["is rewarded"].id, limit=100
        )
    stamps = [job.finished_at or job.created_at for job in page.data]
    stamps += [event.created_at for event in events.data]
    assert max(stamps) <= START + 120

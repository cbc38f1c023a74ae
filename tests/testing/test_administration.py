"""The simulated organisation as its administrators see it, through the real client."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError

from support.simulated import START, still_api
from tunewatch.testing import ADMIN_KEY, Organisation


@asynccontextmanager
async def administrator(api, *, key=ADMIN_KEY):
    async with (
        api.serve() as base_url,
        AsyncOpenAI(
            base_url=base_url, api_key=key, admin_api_key=key, max_retries=0
        ) as client,
    ):
        yield client


@pytest.fixture
def api():
    made = still_api()
    made.add_admin_key(ADMIN_KEY)
    for number in range(7):
        made.found_project(f"p{number}", (f"sk-p{number}",), title=f"Project {number}")
    return made


async def ids(client, **asked):
    listed = client.admin.organization.projects.list(**asked)
    return [project.id async for project in listed]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_every_project_is_listed_once_whatever_the_page(api, limit):
    async with administrator(api) as client:
        listed = await ids(client, limit=limit)
    assert sorted(listed) == sorted(one.id for one in api.projects if one.is_listed)
    assert len(set(listed)) == 7


async def test_a_project_is_told_as_the_real_api_tells_it(api):
    async with administrator(api) as client:
        page = await client.admin.organization.projects.list(limit=1)
        (newest,) = page.data
        again = await client.admin.organization.projects.retrieve(newest.id)
    assert again == newest
    assert newest.id.startswith("proj_")
    assert (newest.name, newest.status) == ("Project 6", "active")
    assert (newest.created_at, newest.archived_at) == (START, None)
    assert newest.object == "organization.project"


async def test_archived_projects_are_shown_when_asked_for_and_their_keys_are_dead(api):
    api.archive_project("p3")
    archived = api.project("p3").id
    async with administrator(api) as client:
        assert archived not in await ids(client)
        assert archived in await ids(client, include_archived=True)
        found = await client.admin.organization.projects.retrieve(archived)
        assert (found.status, found.archived_at) == ("archived", START)
        with pytest.raises(AuthenticationError):
            await client.with_options(api_key="sk-p3").fine_tuning.jobs.list()


async def test_a_limit_is_from_1_to_100(api):
    async with administrator(api) as client:
        for limit in (0, 101):
            with pytest.raises(BadRequestError):
                await client.admin.organization.projects.list(limit=limit)


async def test_neither_kind_of_key_does_the_others_work(api):
    async with administrator(api) as client:
        with pytest.raises(AuthenticationError):
            await client.fine_tuning.jobs.list()
    async with administrator(api, key="sk-p1") as client:
        assert (await client.fine_tuning.jobs.list()).data == []
        with pytest.raises(AuthenticationError):
            await client.admin.organization.projects.list()


async def test_what_there_is_not_is_404(api):
    async with administrator(api) as client:
        with pytest.raises(NotFoundError):
            await client.admin.organization.projects.retrieve("proj_nowhere")


async def test_an_organisation_of_sixty_projects_trains_in_each():
    api, organisation = still_api(), Organisation(projects=60, jobs_per_hour=600)
    organisation.move_into(api)
    assert len(organisation.project_keys) == 60
    async with administrator(api) as client:
        assert sorted(await ids(client)) == sorted(organisation.project_keys)
        api.clock.advance(3600)
        with_jobs = 0
        for key in organisation.project_keys.values():
            page = await client.with_options(api_key=key).fine_tuning.jobs.list()
            with_jobs += bool(page.data)
    assert with_jobs == 60

"""The projects of an organisation: listed by an admin key, one request a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from support.simulated import still_api
from tunewatch.sources.contract import (
    Call,
    Project,
    Projects,
    Refused,
    SourceContext,
    SourceFault,
    Unavailable,
    Unreadable,
)
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import SOURCE
from tunewatch.testing import ADMIN_KEY, Fault, SimulatedApi

assert SOURCE.organizing is not None
ORGANIZING = SOURCE.organizing


@dataclass
class Desk:
    api: SimulatedApi
    projects: Projects
    key: list[str]
    calls: list[Call] = field(default_factory=list)

    async def all(self, limit: int = 100) -> list[Project]:
        found: list[Project] = []
        cursor = None
        while True:
            page = await self.projects.list_projects(after=cursor, limit=limit)
            found += page.items
            cursor = page.cursor
            if cursor is None:
                return found


@asynccontextmanager
async def desk_of(api: SimulatedApi, **settings: str) -> AsyncIterator[Desk]:
    key = [ADMIN_KEY]
    calls: list[Call] = []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(api.serve())
        context = SourceContext(
            name="acme",
            secret=lambda: key[0],
            observe=calls.append,
            http=await stack.enter_async_context(shared_http()),
        )
        made = SOURCE.settings(base_url=url, **settings)
        opened = await stack.enter_async_context(ORGANIZING.open(made, context))
        yield Desk(api, opened, key, calls)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    api = still_api()
    api.add_admin_key(ADMIN_KEY)
    for number in range(5):
        api.found_project(f"proj_{number}", title=f"Project {number}")
    async with desk_of(api) as desk:
        yield desk


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_all_projects_come_with_their_titles_and_the_archived_ones_too(
    desk, limit
):
    desk.api.archive_project("proj_2")
    found = await desk.all(limit)
    assert sorted(found, key=lambda one: one.id) == [
        Project(id=f"proj_{n}", title=f"Project {n}", is_archived=n == 2)
        for n in range(5)
    ]
    assert {(call.endpoint, call.outcome) for call in desk.calls} == {
        ("projects", "ok")
    }
    assert len(desk.calls) == len(desk.api.requests)


async def test_only_the_admin_key_and_the_organisation_are_sent(monkeypatch):
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS"):
        monkeypatch.setenv(f"OPENAI_{name}", "x-canary: y")
    api = still_api()
    api.add_admin_key(ADMIN_KEY)
    async with desk_of(api, organization="org-1", project="proj_1") as desk:
        await desk.all()
    (request,) = api.requests
    assert request.key == ADMIN_KEY
    assert request.headers["openai-organization"] == "org-1"
    assert "openai-project" not in request.headers
    assert "canary" not in str(request.headers)
    assert request.query["include_archived"] == "true"


async def test_a_key_that_was_exchanged_is_used_at_once(desk):
    desk.api.admin_keys = {"sk-admin-new"}
    with pytest.raises(Refused):
        await desk.all()
    desk.key[0] = "sk-admin-new\n"
    assert len(await desk.all()) == 5


FAULTS: list[tuple[Fault, type[SourceFault]]] = [
    (Fault.status(401), Refused),
    (Fault.status(403), Refused),
    (Fault.status(429, retry_after=7), Unavailable),
    (Fault.status(503), Unavailable),
    (Fault.html(200), Unreadable),
    (Fault.truncated(), Unreadable),
    (Fault.cut(), Unavailable),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=lambda one: str(one)[:30])
async def test_what_goes_wrong_is_told_in_the_contracts_words(desk, fault, kind):
    desk.api.fault("*organization/projects*", fault)
    with pytest.raises(kind) as raised:
        await desk.all()
    assert "for projects" in raised.value.reason
    assert ADMIN_KEY not in raised.value.reason
    assert desk.calls[-1].outcome == kind.__name__.lower()
    assert len(desk.api.requests) == 1  # waiting is not the source's


async def test_a_refused_admin_key_says_which_setting_it_is(desk):
    desk.api.admin_keys.clear()
    with pytest.raises(Refused, match="admin_key_file"):
        await desk.all()
    desk.key[0] = ""
    with pytest.raises(Refused, match="there is no admin key"):
        await desk.all()


async def test_one_odd_item_costs_no_page_and_a_title_is_no_novel(desk):
    desk.api.fault("*organization/projects*", Fault.malformed_item())
    page = await desk.projects.list_projects(after=None, limit=100)
    assert page.malformed == 1
    desk.api.project("proj_1").title = "t" * 10_000
    titles = [len(one.title) for one in await desk.all()]
    assert max(titles) == 200


@pytest.mark.parametrize(("text", "is_one"), [("proj_a", True), ("README", False)])
def test_ids_of_projects_are_known_by_how_they_look(text, is_one):
    assert ORGANIZING.is_project(text) is is_one

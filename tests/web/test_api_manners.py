"""What all answers have in common: problems that help, tags, limits, methods."""

from __future__ import annotations

import pytest

from support.operator_api import operator_api
from tunewatch.web import Api
from tunewatch.web.server import serving


@pytest.fixture
async def operator(tmp_path):
    async with operator_api(f"sqlite:///{tmp_path / 'state.db'}") as operator:
        await operator.filling.job("a", points={1: {"train_loss": 0.5}})
        yield operator


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ("limit=0", "limit", "wanted a whole number from 1 to 1000; found 0"),
        ("limit=1001", "limit", "found 1001"),
        ("limit=ten", "limit", 'found "ten"'),
        ("limit=", "limit", 'found ""'),
        ("limit=1&limit=2", "limit", "found it more than once"),
        ("limit=9" + "9" * 30, "limit", "wanted a whole number"),
        ("settled=yes", "settled", 'wanted true or false; found "yes"'),
        (
            "decision=last",
            "decision",
            'wanted final or none or provisional; found "last"',
        ),
        ("source=", "source", "wanted 1 to 200 characters"),
        ("source=a%00b", "source", "that can be printed"),
        ("status=" + "x" * 400, "status", "…"),
        ("metadata=a", "metadata", "wanted at most 4 of name[key]=value"),
        ("metadata[a]=1&metadata[a]=2", "metadata", "[a] more than once"),
        ("sourse=a", "sourse", "did you mean source?"),
        ("createdsince=1", "createdsince", "did you mean created_since?"),
        ("token=x", "token", "known here: source, status"),
        ("source[a]=x", "source[a]", "did you mean source?"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_was_wanted(
    operator, query, parameter, words
):
    told = await operator.problem(f"/jobs?{query}")
    assert told["status"] == 400
    (error,) = told["errors"]
    assert error["parameter"] == parameter
    assert words in error["detail"]
    assert f"{parameter}: {error['detail']}" == told["detail"]


async def test_all_wrong_parameters_are_told_at_once(operator):
    told = await operator.problem("/jobs?limit=0&settled=x&nope=1")
    assert {one["parameter"] for one in told["errors"]} == {"limit", "settled", "nope"}


@pytest.mark.parametrize("path", ["/schemas", "/openapi.json", "/sources", "/events/x"])
async def test_a_path_without_parameters_takes_none(operator, path):
    told = await operator.problem(f"{path}?limit=1")
    assert told["status"] == 400
    assert "known here: none" in told["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/jobs/a", "/jobs/a/points", "/events"])
async def test_head_is_get_without_the_body(operator, path):
    got, head = await operator.ask(path), await operator.ask(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Type", "Content-Length"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/a/nowhere", "//api/v2/jobs", "/"])
async def test_what_is_not_there_is_a_404(operator, path):
    assert (await operator.problem(path))["status"] == 404


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("application/*;q=0.5, text/html", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("application/json;q=x", 406),
    ],
)
async def test_accept_is_heeded(operator, accept, status):
    assert (await operator.ask("/jobs", Accept=accept)).status == status


PATHS = ["/jobs", "/jobs/a", "/jobs/a/points", "/jobs/a/checkpoints", "/jobs/a/best"]


@pytest.mark.parametrize("path", [*PATHS, "/events", "/jobs/a/events", "/plugins"])
async def test_what_the_asker_has_already_is_not_sent_again(operator, path):
    first = await operator.ask(path)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await operator.ask(path, If_None_Match=given)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == tag
    assert (await operator.ask(path, If_None_Match='"other"')).status == 200


@pytest.mark.parametrize("path", [*PATHS, "/events", "/jobs/a/events"])
async def test_what_has_changed_is_sent_again(operator, path):
    tag = (await operator.ask(path)).headers["ETag"]
    await operator.filling.job(
        "a", status="succeeded", points={2: {"train_loss": 0.25}}
    )
    again = await operator.ask(path, If_None_Match=tag)
    assert again.status == 200
    assert again.headers["ETag"] != tag


async def test_a_tag_is_of_one_question(operator):
    tags = {
        (await operator.ask(path)).headers["ETag"]
        for path in ("/jobs/a/points", "/jobs/a/points?limit=1", "/jobs/a/best")
    }
    assert len(tags) == 3


async def test_before_the_store_is_open_it_says_so(tmp_path):
    import aiohttp

    from support.operator_api import LOOPBACK, Fine

    async with (
        serving(LOOPBACK, health=Fine(), api=Api()) as bound,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bound.port}/api/v1/jobs") as answer,
    ):
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "2"
        assert "not open yet" in (await answer.json(content_type=None))["detail"]

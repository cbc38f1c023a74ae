"""Everything that can be made to go wrong goes wrong on the wire, as told."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
)

from support.simulated import client_of, still_api
from tunewatch.testing import (
    DEFAULT_KEY,
    ODDITIES,
    REFUSALS,
    TRANSIENT,
    Fault,
)

JOBS = "GET */fine_tuning/jobs*"


async def listed(client, **asked) -> bytes:
    raw = await client.fine_tuning.jobs.with_raw_response.list(**asked)
    return raw.content


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 502, 503])
async def test_a_status_comes_with_the_error_body_of_the_api(status):
    api = still_api()
    api.fault(JOBS, Fault.status(status))
    async with client_of(api) as client:
        with pytest.raises(APIStatusError) as raised:
            await client.fine_tuning.jobs.list()
        await client.fine_tuning.jobs.list()
    assert raised.value.status_code == status
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    assert "retry-after" not in raised.value.response.headers


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(2, "2"), (0.5, "0.5"), ("soon", "soon"), (10**9, "1000000000"), ("", "")],
)
async def test_retry_after_is_sent_as_wished(asked, sent):
    api = still_api()
    api.fault("*", Fault.status(429, retry_after=asked))
    async with client_of(api) as client:
        with pytest.raises(RateLimitError) as raised:
            await client.fine_tuning.jobs.list()
    assert raised.value.response.headers["retry-after"] == sent


async def test_retry_after_can_be_a_date():
    api = still_api()
    api.fault("*", Fault.status(503, retry_after=timedelta(minutes=5)))
    async with client_of(api) as client:
        with pytest.raises(APIStatusError) as raised:
            await client.fine_tuning.jobs.list()
    until = parsedate_to_datetime(raised.value.response.headers["retry-after"])
    assert 290 < (until - datetime.now(UTC)).total_seconds() <= 301


async def test_the_client_retries_by_itself_what_passes():
    api = still_api()
    job = api.add_job()
    rule = api.fault(JOBS, Fault.status(500), times=1)
    async with client_of(api, max_retries=1) as client:
        page = await client.fine_tuning.jobs.list()
    assert [shown.id for shown in page.data] == [job.id]
    assert rule.hits == ["500"]
    assert [request.status for request in api.requests] == [500, 200]


async def test_a_rule_skips_strikes_and_ends_and_is_for_one_key_only():
    api = still_api()
    api.add_key("sk-other")
    rule = api.fault(JOBS, Fault.status(404), skip=1, times=2, key=DEFAULT_KEY)
    statuses = []
    async with api.serve() as url, aiohttp.ClientSession() as session:
        for key in [DEFAULT_KEY, "sk-other", *[DEFAULT_KEY] * 3, "sk-other"]:
            headers = {"Authorization": f"Bearer {key}"}
            where = f"{url}/fine_tuning/jobs"
            async with session.get(where, headers=headers) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 200, 404, 404, 200, 200]
    assert rule.hits == ["404", "404"]


async def test_a_rule_without_end_lasts_until_it_is_lifted():
    api = still_api()
    rule = api.fault(JOBS, Fault.status(503), times=None)
    async with client_of(api) as client:
        for _ in range(3):
            with pytest.raises(APIStatusError):
                await client.fine_tuning.jobs.list()
        rule.lift()
        await client.fine_tuning.jobs.list()
    assert len(rule.hits) == 3


async def test_a_captive_portal_answers_200_and_html():
    api = still_api()
    api.fault("*", Fault.html())
    async with client_of(api) as client:
        raw = await client.fine_tuning.jobs.with_raw_response.list()
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "text/html"
    assert raw.content.startswith(b"<!DOCTYPE html>")


async def test_json_can_end_in_the_middle_of_a_complete_answer():
    api = still_api()
    api.put_many(3)
    api.fault("*", Fault.truncated())
    async with client_of(api) as client:
        spoilt, good = await listed(client), await listed(client)
    assert good.startswith(spoilt)
    with pytest.raises(json.JSONDecodeError):
        json.loads(spoilt)


async def test_a_content_type_can_be_a_lie():
    api = still_api()
    api.fault("*", Fault.content_type("text/plain"))
    async with client_of(api) as client:
        raw = await client.fine_tuning.jobs.with_raw_response.list()
    assert raw.headers["content-type"] == "text/plain"
    assert json.loads(raw.content)["object"] == "list"


async def test_a_bare_nan_stands_where_a_number_was():
    api = still_api()
    job = api.add_job()
    api.clock.advance(400)
    api.fault("GET */events*", Fault.nan())
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs.with_raw_response
        spoilt = (await jobs.list_events(job.id)).content
        good = (await jobs.list_events(job.id)).content
    assert b'"train_loss": NaN' in spoilt
    assert b"NaN" not in good


async def test_one_item_of_a_page_can_be_malformed():
    api = still_api()
    api.put_many(3)
    api.fault("*", Fault.malformed_item())
    async with client_of(api) as client:
        items = json.loads(await listed(client))["data"]
    assert [isinstance(item["id"], str) for item in items] == [True, False, True]


async def test_a_cursor_can_repeat_for_ever():
    api = still_api()
    api.put_many(5)
    api.fault(JOBS, Fault.same_page(), times=None)
    async with client_of(api) as client:
        first = json.loads(await listed(client, limit=5))
        last = first["data"][-1]["id"]
        second = json.loads(await listed(client, limit=5, after=last))
    assert first == second
    assert first["has_more"] is True


async def test_has_more_can_be_missing_or_wrong():
    api = still_api()
    api.put_many(2)
    api.fault("*", Fault.no_has_more())
    api.fault("*", Fault.empty_page())
    async with client_of(api) as client:
        without = json.loads(await listed(client))
        empty = json.loads(await listed(client))
    assert "has_more" not in without
    assert (empty["data"], empty["has_more"]) == ([], True)


async def test_jobs_can_have_empty_errors_and_no_hyperparameters():
    api = still_api()
    failed = api.add_job(outcome="invalid_n_examples")
    api.add_job(start=api.clock.now() + 100)
    api.clock.advance(200)
    api.fault("*", Fault.empty_error())
    api.fault("*", Fault.null_hyperparameters(), times=2)
    async with client_of(api) as client:
        errors = [job["error"] for job in json.loads(await listed(client))["data"]]
        hyper = [
            job["hyperparameters"] for job in json.loads(await listed(client))["data"]
        ]
        one = await client.fine_tuning.jobs.retrieve(failed.id)
    assert errors[0] == {}
    assert errors[1]["code"] == "invalid_n_examples"
    assert hyper == [None, None]
    assert one.hyperparameters is None


async def test_a_list_can_be_served_oldest_first_with_cursors_to_newer_items():
    api = still_api()
    job = api.add_job()
    api.clock.advance(600)
    async with client_of(api) as client:
        events = client.fine_tuning.jobs.list_events
        right = [event.id async for event in events(job.id, limit=5)]
        api.fault("GET */events*", Fault.oldest_first(), times=None)
        wrong = [event.id async for event in events(job.id, limit=5)]
    assert wrong == right[::-1]
    assert len(right) > 10


async def test_an_answer_can_be_late_or_drip():
    api = still_api()
    api.put_many(3)
    async with client_of(api) as client:
        good = await listed(client)
        for fault in (Fault.slow(0.2), Fault.drip(0.2)):
            api.fault("*", fault)
            began = time.monotonic()
            assert await listed(client) == good
            assert time.monotonic() - began >= 0.19


async def test_a_connection_can_be_reset_cut_or_left_hanging():
    api = still_api()
    api.put_many(3)
    async with client_of(api, timeout=0.3) as client:
        for fault, wanted in (
            (Fault.reset(), APIConnectionError),
            (Fault.cut(), Exception),
            (Fault.hang(), APITimeoutError),
        ):
            api.fault("*", fault)
            with pytest.raises(wanted):
                await listed(client)
            assert json.loads(await listed(client))["object"] == "list"


async def test_a_server_ends_at_once_although_an_answer_hangs():
    api = still_api()
    api.fault("*", Fault.hang())
    async with aiohttp.ClientSession() as session:
        async with api.serve() as url:
            reading = session.get(
                url, headers={"Authorization": f"Bearer {DEFAULT_KEY}"}
            )
            with pytest.raises(TimeoutError):
                await _soon(reading)
            began = time.monotonic()
        assert time.monotonic() - began < 2


async def _soon(reading) -> None:
    async with asyncio.timeout(0.1):
        await reading


async def test_chaos_strikes_about_its_rate_and_the_same_requests_for_a_seed():
    async def struck(seed: int) -> list[str]:
        api = still_api()
        faults = [Fault.status(500), Fault.status(404)]
        rule = api.chaos(rate=0.3, seed=seed, faults=faults)
        async with api.serve() as url, aiohttp.ClientSession() as session:
            for _ in range(200):
                async with session.get(f"{url}/models"):
                    pass
        statuses = [str(request.status) for request in api.requests]
        assert [status for status in statuses if status != "401"] == rule.hits
        return statuses

    once = await struck(3)
    assert once == await struck(3) != await struck(4)
    assert 35 <= len(once) - once.count("401") <= 85


@pytest.mark.parametrize(
    "fault", [*TRANSIENT, *ODDITIES, *REFUSALS], ids=lambda fault: fault.name
)
async def test_no_fault_of_the_collection_breaks_the_simulation_itself(fault, caplog):
    api = still_api()
    job = api.add_job()
    api.clock.advance_to(job.settles_at)
    headers = {"Authorization": f"Bearer {DEFAULT_KEY}"}
    (file_id,) = job.fields(api.clock.now())["result_files"]
    paths = [
        "fine_tuning/jobs",
        f"fine_tuning/jobs/{job.id}",
        f"fine_tuning/jobs/{job.id}/events",
        f"fine_tuning/jobs/{job.id}/checkpoints",
        f"files/{file_id}/content",
    ]
    async with api.serve() as url, aiohttp.ClientSession(headers=headers) as session:
        for path in paths:
            rule = api.fault("*", fault)
            try:
                async with session.get(f"{url}/{path}") as answer:
                    await answer.read()
            except aiohttp.ClientError:
                assert fault.name in {"reset", "cut"}
            assert rule.hits == [fault.name]
            async with session.get(f"{url}/{path}") as answer:
                assert answer.status == 200
    assert not caplog.records

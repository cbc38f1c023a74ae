"""Lists, cursors, keys, given payloads and the log of a simulated API."""

from __future__ import annotations

import json
import os
from pathlib import Path

import aiohttp
import pytest
from openai import APIStatusError, AuthenticationError, RateLimitError

from support.simulated import START, client_of, still_api
from tunewatch.testing import DEFAULT_KEY, Fault, SimulatedApi

SHARED = Path(
    os.environ.get(
        "TUNEWATCH_SHARED", Path(__file__).resolve().parents[2].parent / "shared"
    )
)


async def ids_of(pages) -> list[str]:
    return [item.id async for item in pages]


async def test_jobs_come_newest_first_and_after_means_older():
    api = still_api()
    made = api.put_many(45, apart=10)
    newest_first = [job.id for job in reversed(made)]
    async with client_of(api) as client:
        first = await client.fine_tuning.jobs.list()
        second = await client.fine_tuning.jobs.list(after=first.data[-1].id, limit=30)
        walked = await ids_of(client.fine_tuning.jobs.list(limit=7))
    assert [job.id for job in first.data] == newest_first[:20]
    assert [job.id for job in second.data] == newest_first[20:]
    assert (first.has_more, second.has_more) == (True, False)
    assert walked == newest_first
    assert "first_id" not in first.to_dict()


async def test_usual_limits_are_twenty_twenty_and_ten():
    api = still_api()
    api.put_many(25)
    job = api.add_job(steps=60, epochs=60)
    api.put_checkpoints(job, [{"id": f"ftckpt_{number}"} for number in range(15)])
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        jobs = await client.fine_tuning.jobs.list()
        events = await client.fine_tuning.jobs.list_events(job.id)
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
    assert [len(page.data) for page in (jobs, events, saved)] == [20, 20, 10]


async def test_a_largest_page_gives_fewer_than_asked_and_says_that_there_is_more():
    api = still_api(largest_page=5)
    made = api.put_many(12)
    async with client_of(api) as client:
        page = await client.fine_tuning.jobs.list(limit=100)
        walked = await ids_of(client.fine_tuning.jobs.list(limit=100))
    assert (len(page.data), page.has_more) == (5, True)
    assert len(walked) == len(made)


async def test_a_cursor_stays_good_while_new_items_arrive_above_it():
    api = still_api()
    job = api.add_job()
    api.clock.advance(400)
    async with client_of(api) as client:
        first = await client.fine_tuning.jobs.list_events(job.id, limit=5)
        api.clock.advance(300)
        second = await client.fine_tuning.jobs.list_events(
            job.id, limit=5, after=first.data[-1].id
        )
        whole = await ids_of(client.fine_tuning.jobs.list_events(job.id, limit=100))
    seen = [event.id for event in (*first.data, *second.data)]
    place = whole.index(seen[0])
    assert place > 0
    assert seen == whole[place : place + 10]


async def test_a_cursor_or_limit_that_makes_no_sense_is_a_bad_request():
    api = still_api()
    api.add_job()
    async with client_of(api) as client:
        with pytest.raises(APIStatusError) as unknown:
            await client.fine_tuning.jobs.list(after="ftjob-nobody")
        with pytest.raises(APIStatusError) as zero:
            await client.fine_tuning.jobs.list(limit=0)
    assert (unknown.value.status_code, unknown.value.param) == (400, "after")
    assert (zero.value.status_code, zero.value.param) == (400, "limit")


async def test_jobs_can_be_filtered_by_metadata_or_by_having_none():
    api = still_api()
    plain = api.add_job()
    ours = api.add_job(metadata={"team": "a", "owner": "x"})
    theirs = api.add_job(metadata={"team": "b"})
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs
        a = await ids_of(jobs.list(metadata={"team": "a"}))
        both = await ids_of(jobs.list(metadata={"team": "a", "owner": "y"}))
        none = await ids_of(jobs.list(extra_query={"metadata": "null"}))
        everything = await ids_of(jobs.list())
    assert (a, both, none) == ([ours.id], [], [plain.id])
    assert everything == [theirs.id, ours.id, plain.id]


async def test_a_job_of_the_future_does_not_exist_yet():
    api = still_api()
    job = api.add_job(start=START + 100)
    async with client_of(api) as client:
        before = await client.fine_tuning.jobs.list()
        with pytest.raises(APIStatusError) as missing:
            await client.fine_tuning.jobs.retrieve(job.id)
        api.clock.advance(100)
        after = await client.fine_tuning.jobs.list()
    assert (before.data, [shown.id for shown in after.data]) == ([], [job.id])
    assert missing.value.code == "fine_tune_not_found"


async def test_keys_see_their_project_only_and_a_revoked_one_nothing():
    api = still_api()
    api.project("alpha", ("sk-alpha-one", "sk-alpha-two"))
    job = api.add_job(project="alpha")
    api.add_job()
    async with api.serve() as url:

        async def seen_by(key: str) -> tuple[int, list[str]]:
            headers = {"Authorization": f"Bearer {key}"}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{url}/fine_tuning/jobs") as answer,
            ):
                body = await answer.json()
                return answer.status, [one["id"] for one in body.get("data", [])]

        assert await seen_by("sk-alpha-one") == (200, [job.id])
        assert await seen_by("sk-alpha-two") == (200, [job.id])
        assert await seen_by("sk-nobody-knows") == (401, [])
        assert await seen_by("") == (401, [])
        api.rotate_key("sk-alpha-one", "sk-alpha-new")
        assert await seen_by("sk-alpha-one") == (401, [])
        assert await seen_by("sk-alpha-new") == (200, [job.id])
        api.revoke_key("sk-alpha-two")
        assert await seen_by("sk-alpha-two") == (401, [])
        api.add_key("sk-alpha-two", project="alpha")
        assert await seen_by("sk-alpha-two") == (200, [job.id])
    with pytest.raises(LookupError):
        api.rotate_key("sk-nobody", "sk-else")


async def test_a_wrong_key_is_repeated_masked_as_the_real_api_does():
    async with client_of(still_api(), key="sk-live-0123456789abcdef") as client:
        with pytest.raises(AuthenticationError) as refused:
            await client.fine_tuning.jobs.list()
    assert refused.value.code == "invalid_api_key"
    assert "sk-live" in str(refused.value)
    assert "0123456789" not in str(refused.value)


async def test_answers_carry_a_request_id_a_date_and_what_is_left_of_the_limit():
    api = still_api()
    api.requests_per_minute = 2
    api.date_offset = 7_200
    async with client_of(api) as client:
        raw = await client.fine_tuning.jobs.with_raw_response.list()
        again = await client.fine_tuning.jobs.with_raw_response.list()
        with pytest.raises(RateLimitError) as refused:
            await client.fine_tuning.jobs.list()
    assert raw.headers["x-request-id"] != again.headers["x-request-id"]
    assert raw.headers["x-ratelimit-limit-requests"] == "2"
    assert raw.headers["x-ratelimit-remaining-requests"] == "1"
    assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    assert "openai-processing-ms" in raw.headers
    assert "GMT" in raw.headers["date"]
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 31


async def test_a_given_job_is_served_word_for_word_with_all_that_is_unknown():
    api = still_api()
    raw = {
        "id": "ftjob-given",
        "object": "fine_tuning.job",
        "created_at": START - 100,
        "status": "contemplating",
        "error": {},
        "hyperparameters": None,
        "tomorrow": {"deep": [1, None]},
    }
    job = api.put_job(raw)
    events = [
        {"id": "ftevent-2", "created_at": 5, "type": "premonition", "data": [1]},
        {"id": "ftevent-1", "created_at": 5, "type": "metrics", "data": {"new": 1e-9}},
    ]
    api.put_events(job, events)
    api.put_checkpoints(job, [{"id": "ftckpt_1", "metrics": {"loss": float("nan")}}])
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs
        shown = await jobs.with_raw_response.retrieve("ftjob-given")
        told = await jobs.with_raw_response.list_events("ftjob-given", limit=1)
        older = await jobs.with_raw_response.list_events(
            "ftjob-given", after="ftevent-2"
        )
        saved = await jobs.checkpoints.with_raw_response.list("ftjob-given")
    assert json.loads(shown.content) == raw
    assert json.loads(told.content)["data"] == events[:1]
    assert json.loads(told.content)["has_more"] is True
    assert json.loads(older.content)["data"] == events[1:]
    assert b'"loss": NaN' in saved.content


async def test_added_events_come_above_those_that_are_there_and_below_later_ones():
    api = still_api()
    job = api.add_job()
    async with client_of(api) as client:
        before = await client.fine_tuning.jobs.list_events(job.id)
        api.add_events(job, [{"id": "ftevent-x", "created_at": 1, "message": "hm"}])
        now = await client.fine_tuning.jobs.list_events(job.id)
        api.clock.advance(80)
        later = await client.fine_tuning.jobs.list_events(job.id)
    ids = [event.id for event in before.data]
    assert [event.id for event in now.data] == ["ftevent-x", *ids]
    assert [event.id for event in later.data][-3:] == ["ftevent-x", *ids]
    assert len(later.data) > 3


async def test_a_test_may_overrule_delete_and_put_back_a_job():
    api = still_api()
    job = api.add_job()
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs
        api.set_status(job, "succeeded_with_honours")
        overruled = await jobs.retrieve(job.id)
        api.update_job(job, {"seed": 5, "status": "queued"}, drop=["metadata"])
        changed = (await jobs.retrieve(job.id)).to_dict()
        api.delete_job(job)
        with pytest.raises(APIStatusError) as gone:
            await jobs.retrieve(job.id)
        listed = await jobs.list()
    assert overruled.status == "succeeded_with_honours"
    assert (changed["seed"], changed["status"]) == (5, "queued")
    assert "metadata" not in changed
    assert gone.value.status_code == 404
    assert listed.data == []


async def test_list_pages_can_have_another_shape_than_retrieve():
    api = still_api()
    api.list_omits = frozenset({"method", "seed"})
    job = api.add_job()
    async with client_of(api) as client:
        (listed,) = (await client.fine_tuning.jobs.list()).data
        shown = await client.fine_tuning.jobs.retrieve(job.id)
    assert set(shown.to_dict()) - set(listed.to_dict()) == {"method", "seed"}


async def test_files_can_be_put_plain_or_as_base64_and_withheld():
    api = still_api()
    api.put_file("file-a", b"step,train_loss\n1,0.5\n")
    api.put_file("file-b", b"step,train_loss\n1,0.5\n", base64=False)
    async with client_of(api) as client:
        wrapped = (await client.files.content("file-a")).text
        plain = (await client.files.content("file-b")).text
        api.withhold_file("file-a")
        with pytest.raises(APIStatusError) as missing:
            await client.files.content("file-a")
    assert wrapped == "c3RlcCx0cmFpbl9sb3NzCjEsMC41Cg=="
    assert plain.startswith("step,")
    assert missing.value.status_code == 404


async def test_the_models_of_a_project_include_what_it_trained():
    api = still_api()
    job = api.add_job(outcome="succeeded")
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        names = [model.id async for model in client.models.list()]
    assert job.fields(api.clock.now())["fine_tuned_model"] in names


async def test_every_request_is_in_the_log_and_can_be_counted_and_awaited():
    api = still_api()
    job = api.add_job()
    async with client_of(api) as client:
        await client.fine_tuning.jobs.list(limit=3)
        await client.fine_tuning.jobs.list_events(job.id)
        api.fault("*", Fault.status(500))
        with pytest.raises(APIStatusError):
            await client.fine_tuning.jobs.retrieve(job.id)
        (event_request,) = await api.requests.wait_for("GET */events*", within=1)
        with pytest.raises(TimeoutError):
            await api.requests.wait_for("POST *", within=0.01)
    first = api.requests[0]
    assert (first.method, first.path) == ("GET", "/v1/fine_tuning/jobs")
    assert first.query == {"limit": "3"}
    assert first.key == DEFAULT_KEY
    assert "OpenAI" in first.headers["user-agent"]
    assert [request.status for request in api.requests] == [200, 200, 500]
    assert api.requests.count(f"GET */{job.id}*") == 2
    assert api.requests.count(since=event_request.at) == 2
    assert api.requests.busiest(60) == len(api.requests) == api.requests.total == 3
    api.requests.clear()
    assert (api.requests.count(), api.requests.total) == (0, 3)


async def test_an_api_can_go_away_and_come_back_on_its_port():
    api = still_api()
    job = api.add_job()
    async with api.serve() as url:
        port = int(url.split(":")[2].split("/")[0])
    headers = {"Authorization": f"Bearer {DEFAULT_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
        async with api.serve(port=port) as again:
            assert again == url
            async with session.get(f"{url}/fine_tuning/jobs") as answer:
                assert (await answer.json())["data"][0]["id"] == job.id


async def test_nothing_is_served_beyond_loopback():
    with pytest.raises(ValueError, match="wanted a loopback address"):
        async with SimulatedApi().serve(host="0.0.0.0"):  # noqa: S104 - to be refused
            pass


async def test_recorded_payloads_come_back_as_they_were_recorded():
    recorded = (
        SHARED / "payloads" / "openai_sft_gpt4omini_events_checkpoints_pinolo.json"
    )
    if recorded.exists():
        pinolo = json.loads(recorded.read_text())
    else:  # without the recordings, an excerpt in their shape
        pinolo = {
            "job1_create_response": {"id": "ftjob-r", "created_at": 5, "status": "x"},
            "job1_events_limit10_newest_first": {"data": [{"id": "b"}, {"id": "a"}]},
            "job1_checkpoints": {"data": [{"id": "c"}]},
        }
    raw = pinolo["job1_create_response"]
    events = pinolo["job1_events_limit10_newest_first"]["data"]
    saved = pinolo["job1_checkpoints"]["data"]
    api = still_api()
    api.put_job(raw)
    api.put_events(raw["id"], events)
    api.put_checkpoints(raw["id"], saved)
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs
        shown = await jobs.with_raw_response.retrieve(raw["id"])
        told = await jobs.with_raw_response.list_events(raw["id"], limit=10)
        kept = await jobs.checkpoints.with_raw_response.list(raw["id"])
    assert json.loads(shown.content) == raw
    assert json.loads(told.content)["data"] == events
    assert json.loads(kept.content)["data"] == saved

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import httpx2
import pytest

import tunewatch
from support.scripted_api import Reply, answer, job, listing, scripted_api, source_at
from tunewatch.sources.contract import Missing, Refused
from tunewatch.sources.http import shared_http


async def test_every_method_asks_its_own_path_once() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs", listing(job()))
        api.says("/fine_tuning/jobs/ftjob-1", answer(job()))
        api.says("/fine_tuning/jobs/ftjob-1/events", listing())
        api.says("/fine_tuning/jobs/ftjob-1/checkpoints", listing())
        api.says("/files/file-1/content", Reply(body=b"step,train_loss\n1,0.5\n"))
        await it.source.list_jobs(after="ftjob-9", limit=50)
        await it.source.retrieve_job("ftjob-1")
        await it.source.list_entries("ftjob-1", after=None, limit=100)
        await it.source.list_checkpoints("ftjob-1", after="ftckpt-3", limit=10)
        await it.source.result_points("file-1")

        assert [(r.method, r.path, dict(r.query)) for r in api.requests] == [
            ("GET", "/v1/fine_tuning/jobs", {"after": "ftjob-9", "limit": "50"}),
            ("GET", "/v1/fine_tuning/jobs/ftjob-1", {}),
            ("GET", "/v1/fine_tuning/jobs/ftjob-1/events", {"limit": "100"}),
            (
                "GET",
                "/v1/fine_tuning/jobs/ftjob-1/checkpoints",
                {"after": "ftckpt-3", "limit": "10"},
            ),
            ("GET", "/v1/files/file-1/content", {}),
        ]
        assert [(call.endpoint, call.outcome) for call in it.calls] == [
            ("jobs", "ok"),
            ("job", "ok"),
            ("events", "ok"),
            ("checkpoints", "ok"),
            ("file", "ok"),
        ]


async def test_the_key_is_read_anew_for_every_request() -> None:
    keys = iter(["sk-old-1", "sk-new-2\n"])
    async with (
        scripted_api() as api,
        source_at(api.base_url, key=lambda: next(keys)) as it,
    ):
        api.says("/fine_tuning/jobs", listing())
        await it.source.list_jobs(after=None, limit=1)
        await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer sk-old-1", "Bearer sk-new-2"]


async def test_requests_after_the_first_are_what_the_client_would_send() -> None:
    asked = ("a b", "ev/1?&=é", "ftevent-2")
    async with scripted_api() as api:
        api.says("/fine_tuning/jobs/ftjob-1/events", listing())
        async with source_at(api.base_url, project="proj_2") as it:
            for after in asked:
                await it.source.list_entries("ftjob-1", after=after, limit=40)
        async with source_at(api.base_url, project="proj_2") as fresh:
            await fresh.source.list_entries("ftjob-1", after=asked[-1], limit=40)
        likewise, by_client = api.requests[-2:]
        assert tuple(r.query["after"] for r in api.requests[:3]) == asked
    assert likewise.raw_path == by_client.raw_path
    assert dict(likewise.headers) == dict(by_client.headers)


async def test_a_key_that_was_refused_is_signed_anew_by_the_client() -> None:
    by_client: list[int] = []

    async def note(response: httpx2.Response) -> None:
        by_client.append(response.status_code)

    async with scripted_api() as api, shared_http() as http:
        assert isinstance(http, httpx2.AsyncClient)
        http.event_hooks = {"response": [note]}
        async with source_at(api.base_url, http=http) as it:
            told = [*[listing()] * 3, answer({}, status=401), *[listing()] * 2]
            api.says("/fine_tuning/jobs", *told)
            for reply in told:
                with pytest.raises(Refused) if reply.status == 401 else nullcontext():
                    await it.source.list_jobs(after=None, limit=1)
        sent = [dict(request.headers) for request in api.requests]
        peers = {id(request.transport) for request in api.requests}
    assert len(sent) == len(told)
    assert all(headers == sent[0] for headers in sent)
    assert len(peers) == 1
    # The others went out beneath it: if all come through, a library has moved inside.
    assert by_client == [200, 200]


async def test_organization_and_project_are_sent_and_the_agent_is_ours() -> None:
    async with (
        scripted_api() as api,
        source_at(api.base_url, organization="org-1", project="proj_2") as it,
    ):
        api.says("/fine_tuning/jobs", listing())
        await it.source.list_jobs(after=None, limit=1)
        headers = api.requests[0].headers
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj_2"
    assert headers["user-agent"] == f"tunewatch/{tunewatch.__version__}"
    assert "x-stainless-os" not in headers


async def test_nothing_is_taken_from_the_environment_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-of-somebody-else")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "authorization: Bearer sk-other\nx-team: red"
    )
    async with scripted_api() as api, source_at(api.base_url, key=lambda: "k-1") as it:
        api.says("/fine_tuning/jobs", listing())
        await it.source.list_jobs(after=None, limit=1)
        headers = api.requests[0].headers
    assert headers["authorization"] == "Bearer k-1"
    assert not {"openai-organization", "openai-project", "x-team"} & {
        name.lower() for name in headers
    }


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_without_a_key_nothing_is_asked(key: str | None) -> None:
    async with scripted_api() as api, source_at(api.base_url, key=lambda: key) as it:
        with pytest.raises(Refused, match="there is no key"):
            await it.source.list_jobs(after=None, limit=1)
        assert api.requests == []
        assert [call.outcome for call in it.calls] == ["refused"]


async def test_a_key_file_that_cannot_be_read_refuses_with_the_reason() -> None:
    def secret() -> str:
        with open("/nowhere/at/all/key") as file:  # noqa: PTH123 - a real OSError
            return file.read()

    async with scripted_api() as api, source_at(api.base_url, key=secret) as it:
        with pytest.raises(Refused, match="No such file or directory"):
            await it.source.list_jobs(after=None, limit=1)


async def test_two_sources_share_one_client_and_keep_their_keys_apart() -> None:
    async with (
        scripted_api() as api,
        shared_http() as http,
        source_at(api.base_url, http=http, key=lambda: "k-red") as red,
        source_at(api.base_url, http=http, key=lambda: "k-blue") as blue,
    ):
        api.says("/fine_tuning/jobs", listing())
        for it in (red, blue, red):
            await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["authorization"] for request in api.requests]
        peers = {id(request.transport) for request in api.requests}
    assert sent == ["Bearer k-red", "Bearer k-blue", "Bearer k-red"]
    assert len(peers) == 1


async def test_what_one_key_was_given_as_a_cookie_is_not_sent_again() -> None:
    async with scripted_api(host="localhost") as api, source_at(api.base_url) as it:
        api.says(
            "/fine_tuning/jobs",
            answer({"data": []}, headers={"set-cookie": "session=red; Path=/"}),
        )
        for _ in range(3):
            await it.source.list_jobs(after=None, limit=1)
        assert all("cookie" not in request.headers for request in api.requests)


@pytest.mark.parametrize("earlier", [0, 1])
async def test_a_cancelled_request_leaves_the_client_usable(earlier: int) -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs", Reply(hang=True))
        api.says("/fine_tuning/jobs/ftjob-1", answer(job()))
        for _ in range(earlier):
            await it.source.retrieve_job("ftjob-1")
        api.arrived.clear()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            hanging = tasks.create_task(
                it.source.list_jobs(after=None, limit=1), name="hanging"
            )
            await api.arrived.wait()
            hanging.cancel()
        assert hanging.cancelled()
        async with asyncio.timeout(10):
            await api.gone.wait()
        await it.source.retrieve_job("ftjob-1")
        assert it.calls[-1].outcome == "ok"


@pytest.mark.parametrize("job_id", ["", ".", ".."])
async def test_an_id_that_cannot_stand_in_a_path_names_nothing(job_id: str) -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        with pytest.raises(Missing):
            await it.source.retrieve_job(job_id)
        assert api.requests == []


async def test_an_id_with_a_slash_stays_one_segment_of_the_path() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        with pytest.raises(Missing):
            await it.source.retrieve_job("a/../../files?x=1")
        assert api.requests[0].rel_url.raw_path == (
            "/v1/fine_tuning/jobs/a%2F..%2F..%2Ffiles%3Fx=1"
        )


async def test_a_call_tells_what_the_headers_say_of_limits_and_time() -> None:
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "1m0.5s",
        "date": "Fri, 09 Aug 2024 12:53:33 GMT",
    }
    async with (
        scripted_api() as api,
        source_at(api.base_url, now=lambda: 1723208013 + 42.0) as it,
    ):
        api.says("/fine_tuning/jobs", answer({"data": []}, headers=headers))
        await it.source.list_jobs(after=None, limit=1)
    (call,) = it.calls
    assert (call.status, call.limit_requests, call.remaining_requests) == (
        200,
        500,
        499,
    )
    assert call.reset_after == 60.5
    assert call.clock_offset == 42.0
    assert 0 < call.seconds < 10


async def test_the_realm_is_the_provider_and_the_origin_of_the_api() -> None:
    async with source_at("HTTPS://API.Example.com:443/team/v1/") as it:
        assert it.source.realm == "openai:https://api.example.com"
        assert it.source.name == "research"

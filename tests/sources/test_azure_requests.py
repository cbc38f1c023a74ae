"""What an Azure source asks, with what, and what it makes of a refusal."""

from __future__ import annotations

import logging

import pytest

import tunewatch
from support.azure_sources import CLASSIC, azure_at
from support.scripted_api import KEY, Reply, answer, job, listing, scripted_api
from tunewatch.settings import Secret
from tunewatch.sources.contract import Missing, Refused, SourceFault, Unavailable
from tunewatch.sources.http import shared_http

FORMS = [
    ("", None, "/openai/v1", {}),
    ("", "preview", "/openai/v1", {"api-version": "preview"}),
    ("", CLASSIC, "/openai", {"api-version": CLASSIC}),
    ("/api/projects/p", None, "/api/projects/p/openai/v1", {}),
    ("/gate", CLASSIC, "/gate/openai", {"api-version": CLASSIC}),
]


@pytest.mark.parametrize(("path", "version", "root", "query"), FORMS)
async def test_every_method_asks_its_own_path_of_the_form(path, version, root, query):
    async with scripted_api(root="") as api:
        api.root = root
        api.says("/fine_tuning/jobs", listing(job()))
        api.says("/fine_tuning/jobs/ftjob-1", answer(job()))
        api.says("/fine_tuning/jobs/ftjob-1/events", listing())
        api.says("/fine_tuning/jobs/ftjob-1/checkpoints", listing())
        api.says("/files/file-1/content", Reply(body=b"step,train_loss\n1,0.5\n"))
        async with azure_at(api.base_url + path, api_version=version) as it:
            await it.source.list_jobs(after="ftjob-9", limit=50)
            await it.source.retrieve_job("ftjob-1")
            await it.source.list_entries("ftjob-1", after=None, limit=100)
            await it.source.list_checkpoints("ftjob-1", after="c-3", limit=10)
            await it.source.result_points("file-1")
        asked = [(r.method, r.path, dict(r.query)) for r in api.requests]
    jobs = f"{root}/fine_tuning/jobs"
    assert asked == [
        ("GET", jobs, {"after": "ftjob-9", "limit": "50", **query}),
        ("GET", f"{jobs}/ftjob-1", query),
        ("GET", f"{jobs}/ftjob-1/events", {"limit": "100", **query}),
        (
            "GET",
            f"{jobs}/ftjob-1/checkpoints",
            {"after": "c-3", "limit": "10", **query},
        ),
        ("GET", f"{root}/files/file-1/content", query),
    ]


@pytest.mark.parametrize("version", [None, CLASSIC])
async def test_a_key_is_sent_as_azure_wants_it_and_read_anew(version):
    keys = iter(["key-old", "key-new\n"])
    async with scripted_api(root="") as api:
        api.root = "/openai" if version else "/openai/v1"
        api.says("/fine_tuning/jobs", listing())
        async with azure_at(
            api.base_url, key=lambda: next(keys), api_version=version
        ) as it:
            await it.source.list_jobs(after=None, limit=1)
            await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["api-key"] for request in api.requests]
        headers = api.requests[0].headers
    assert sent == ["key-old", "key-new"]
    assert "authorization" not in headers
    assert headers["user-agent"] == f"tunewatch/{tunewatch.__version__}"
    assert not [name for name in headers if name.lower().startswith("x-stainless-os")]


@pytest.mark.parametrize("version", [None, CLASSIC])
async def test_requests_after_the_first_are_what_the_client_would_send(version):
    async with scripted_api(root="") as api:
        api.root = "/openai" if version else "/openai/v1"
        api.says("/fine_tuning/jobs/ftjob-1", answer(job()))
        for times in (2, 1):
            async with azure_at(api.base_url, api_version=version) as it:
                for _ in range(times):
                    await it.source.retrieve_job("ftjob-1")
        _, likewise, by_client = api.requests
    assert likewise.raw_path == by_client.raw_path
    assert dict(likewise.headers) == dict(by_client.headers)


@pytest.mark.parametrize("version", [None, CLASSIC])
async def test_a_token_is_sent_as_bearer_and_its_file_read_again(version, tmp_path):
    file = tmp_path / "token"
    file.write_text("token-old\n")
    async with scripted_api(root="") as api:
        api.root = "/openai" if version else "/openai/v1"
        api.says("/fine_tuning/jobs", listing())
        token = Secret.from_file(file)
        async with azure_at(api.base_url, entra_token=token, api_version=version) as it:
            await it.source.list_jobs(after=None, limit=1)
            file.write_text("token-fresh\n")
            await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["authorization"] for request in api.requests]
        assert not [r for r in api.requests if "api-key" in r.headers]
    assert sent == ["Bearer token-old", "Bearer token-fresh"]


async def test_nothing_is_taken_from_the_environment_of_the_client(monkeypatch):
    for name, value in {
        "AZURE_OPENAI_API_KEY": "key-of-somebody-else",
        "AZURE_OPENAI_AD_TOKEN": "token-of-somebody-else",
        "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
        "OPENAI_API_VERSION": "1999-01-01",
        "OPENAI_API_KEY": "sk-of-somebody-else",
        "OPENAI_ORG_ID": "org-of-somebody-else",
        "OPENAI_CUSTOM_HEADERS": "x-team: red",
    }.items():
        monkeypatch.setenv(name, value)
    async with scripted_api(root="/openai/v1") as api:
        api.says("/fine_tuning/jobs", listing())
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(origin, key=lambda: "k-1") as it:
            await it.source.list_jobs(after=None, limit=1)
        (request,) = api.requests
    assert request.headers["api-key"] == "k-1"
    assert "authorization" not in request.headers
    assert "api-version" not in request.query
    assert not {"openai-organization", "x-team"} & {n.lower() for n in request.headers}


async def test_both_kinds_share_one_client_and_keep_their_keys_apart():
    async with (
        scripted_api(root="/openai/v1") as api,
        shared_http() as http,
    ):
        api.says("/fine_tuning/jobs", listing())
        origin = api.base_url.removesuffix("/openai/v1")
        async with (
            azure_at(origin, http=http, key=lambda: "k-red") as red,
            azure_at(origin, http=http, key=lambda: "k-blue") as blue,
        ):
            for it in (red, blue, red):
                await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["api-key"] for request in api.requests]
        peers = {id(request.transport) for request in api.requests}
    assert sent == ["k-red", "k-blue", "k-red"]
    assert len(peers) == 1


async def test_the_realm_is_azure_and_the_origin():
    async with azure_at("HTTPS://Acme.openai.azure.com:443/") as it:
        assert it.source.realm == "azure:https://acme.openai.azure.com"


@pytest.mark.parametrize("said", [None, "", "  \n", "two words", "kéy"])
async def test_without_a_key_that_could_be_sent_nothing_is_asked(said):
    async with scripted_api(root="/openai/v1") as api:
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(origin, key=lambda: said) as it:
            with pytest.raises(Refused, match="key"):
                await it.source.list_jobs(after=None, limit=1)
        assert api.requests == []


def azure_error(status: int, code: str, message: str, **headers: str) -> Reply:
    body = {"error": {"code": code, "message": message}}
    return answer(body, status=status, headers=headers)


async def fault_of(reply: Reply) -> SourceFault:
    async with scripted_api(root="/openai/v1") as api:
        api.says("/fine_tuning/jobs", reply)
        async with azure_at(api.base_url.removesuffix("/openai/v1")) as it:
            with pytest.raises(SourceFault) as raised:
                await it.source.list_jobs(after=None, limit=1)
    return raised.value


async def test_a_refused_key_says_what_azure_said_and_what_to_look_at():
    told = "Access denied due to invalid subscription key or wrong API endpoint."
    fault = await fault_of(azure_error(401, "401", told))
    assert isinstance(fault, Refused)
    assert told.rstrip(".") in fault.reason
    assert "check it, and that it is of this resource" in fault.reason


async def test_an_identity_without_a_role_is_told_which_kind_it_needs():
    fault = await fault_of(azure_error(403, "403", "Principal does not have access"))
    assert isinstance(fault, Refused)
    assert "it needs a role that reads fine-tuning jobs" in fault.reason


async def test_what_the_gateway_in_front_answers_is_understood_too():
    body = {"statusCode": 401, "message": "Unauthorized. Access token is missing"}
    fault = await fault_of(answer(body, status=401))
    assert isinstance(fault, Refused)
    assert "Access token is missing" in fault.reason


async def test_a_wrong_form_says_to_check_endpoint_and_version():
    fault = await fault_of(azure_error(404, "404", "Resource not found"))
    assert isinstance(fault, Missing)
    assert "check endpoint and api_version" in fault.reason
    other = await fault_of(azure_error(400, "BadRequest", "API version not supported"))
    assert "BadRequest: API version not supported" in other.reason


async def test_a_limit_is_honoured_as_long_as_azure_asks():
    reply = azure_error(429, "429", "Rate limit is exceeded.", **{"retry-after": "17"})
    fault = await fault_of(reply)
    assert isinstance(fault, Unavailable)
    assert fault.after == 17


@pytest.mark.parametrize("way", ["key", "token"])
async def test_neither_key_nor_token_shows_in_a_fault_or_a_log(way, caplog):
    caplog.set_level(logging.DEBUG)
    ways = {
        "key": {},
        "token": {"entra_token": Secret.of(KEY)},
    }
    echoes = [
        azure_error(status, KEY, f"bad {KEY}") for status in (400, 401, 403, 404, 500)
    ]
    async with scripted_api(root="/openai/v1") as api:
        api.says("/fine_tuning/jobs", *echoes)
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(origin, **ways[way]) as it:
            for _ in echoes:
                with pytest.raises(SourceFault) as raised:
                    await it.source.list_jobs(after=None, limit=1)
                error = raised.value
                assert error.__cause__ is None
                assert error.__context__ is None
                assert KEY not in f"{error!r}{error}{vars(error)}"
            assert KEY not in repr(it.calls)
    assert KEY not in caplog.text

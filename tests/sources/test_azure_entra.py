"""Signing in with Entra ID, through the real azure-identity and a managed identity."""

from __future__ import annotations

import logging

import pytest

from support.azure_sources import azure_at
from support.identity_server import identity_server
from support.scripted_api import listing, scripted_api
from tunewatch.settings import Secret
from tunewatch.sources.contract import Refused


@pytest.fixture
async def identity(monkeypatch):
    async with identity_server() as served:
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        # Of all ways to sign in only this one: the others would look around here.
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield served


async def test_a_managed_identity_s_token_is_sent_and_kept_while_it_is_good(identity):
    async with scripted_api(root="/openai/v1") as api:
        api.says("/fine_tuning/jobs", listing())
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(origin, entra=True) as it:
            await it.source.list_jobs(after=None, limit=1)
            await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer entra-token-1"] * 2
    (asked,) = identity.asked
    assert asked.query["resource"] == "https://cognitiveservices.azure.com"
    assert asked.headers["x-identity-header"] == "proof-of-place"


async def test_a_token_that_has_ended_is_exchanged_without_a_restart(identity):
    identity.lasts = -10.0
    async with scripted_api(root="/openai/v1") as api:
        api.says("/fine_tuning/jobs", listing())
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(
            origin, entra=True, entra_scope="api://mine/.default"
        ) as it:
            await it.source.list_jobs(after=None, limit=1)
            await it.source.list_jobs(after=None, limit=1)
        sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer entra-token-1", "Bearer entra-token-2"]
    assert {asked.query["resource"] for asked in identity.asked} == {"api://mine"}


async def test_an_identity_that_gets_no_token_refuses_with_its_words(identity, caplog):
    caplog.set_level(logging.DEBUG)
    identity.refuses = 400
    async with scripted_api(root="/openai/v1") as api:
        origin = api.base_url.removesuffix("/openai/v1")
        async with azure_at(origin, entra=True) as it:
            with pytest.raises(Refused) as raised:
                await it.source.list_jobs(after=None, limit=1)
        assert api.requests == []
    assert "Entra ID gives no token: " in raised.value.reason
    assert "no identity is assigned" in raised.value.reason
    assert "redacted" not in raised.value.reason
    assert not [r for r in caplog.records if r.name.startswith("azure")]
    assert raised.value.__context__ is None
    assert [call.outcome for call in it.calls] == ["refused"]


async def test_where_no_way_works_all_are_named_and_what_to_do(monkeypatch):
    for name in ("IDENTITY_ENDPOINT", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)
    # Ways that ask nobody: neither this machine's network nor its programs.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    monkeypatch.setenv("MSI_ENDPOINT", "http://127.0.0.1:9/msi")
    monkeypatch.setenv("MSI_SECRET", "proof-of-place")
    async with azure_at("http://127.0.0.1:9", entra=True) as it:
        with pytest.raises(Refused) as raised:
            await it.source.list_jobs(after=None, limit=1)
    reason = raised.value.reason
    assert "(environment, workload identity, managed identity)" in reason
    assert "name the right one in AZURE_TOKEN_CREDENTIALS" in reason


@pytest.mark.parametrize("token", ["", "  "])
async def test_an_empty_token_file_says_which_setting_it_is(token, tmp_path):
    file = tmp_path / "token"
    file.write_text(token)
    async with azure_at("http://127.0.0.1:9", entra_token=Secret.from_file(file)) as it:
        with pytest.raises(Refused, match="there is no token: set entra_token_file"):
            await it.source.list_jobs(after=None, limit=1)

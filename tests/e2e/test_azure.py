"""Azure beside OpenAI in one real daemon: both forms, keys, tokens, identities."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.azure_sources import CLASSIC
from support.identity_server import identity_server
from support.program import Program
from support.running import QUICK, Running, configure, ended, eventually, running
from support.simulated_org import SPEED
from tunewatch.pace import REFUSED_AGAIN
from tunewatch.testing import SimulatedApi

AZURE_KEY, TOKEN = "azure-key-canary-1", "entra-token-canary-1"


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.fixture
async def azure():
    api = SimulatedApi(dialect="azure", time_scale=SPEED)
    api.add_key(AZURE_KEY)
    async with api.serve() as endpoint:
        yield api, endpoint


async def jobs_of(daemon: Running) -> dict[str, dict[str, Any]]:
    listed = json.loads((await daemon.cli("jobs", "-o", "json")).out)
    return {row["job"]["id"]: row for row in listed["data"]}


async def test_openai_and_azure_are_watched_side_by_side(program, azure):
    az, endpoint = azure
    oa = SimulatedApi(time_scale=SPEED)
    az.add_token(TOKEN, project="foundry")
    (program.directory / "azure-key").write_text(AZURE_KEY)
    (program.directory / "entra-token").write_text(TOKEN)
    life = {"curve": "overfit", "steps": 40, "seconds_per_step": 12, "suffix": "router"}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(oa.serve())
        configure(
            program,
            f"[source_defaults]{QUICK}"
            f'[sources.openai]\nbase_url = "{url}"\napi_key = "sk-simulated"\n'
            f'[sources.classic]\nkind = "azure"\nendpoint = "{endpoint}"\n'
            f'api_version = "{CLASSIC}"\napi_key_file = "azure-key"\n'
            f'[sources.foundry]\nkind = "azure"\nrealm = "azure:foundry"\n'
            f'endpoint = "{endpoint}/api/projects/chat"\n'
            'entra_token_file = "entra-token"\n',
        )
        daemon = await stack.enter_async_context(running(program))
        made = {
            "openai": oa.add_job(**life),
            "classic": az.add_job(
                model="gpt-4.1-2025-04-14.ft-5fd1918ee65d4cd3-mine", **life
            ),
            "foundry": az.add_job(project="foundry", metrics_as_text=True, **life),
        }

        async def all_chosen() -> bool:
            said = [await daemon.cli("best", job.id) for job in made.values()]
            return [done.code for done in said] == [0, 0, 0]

        await eventually(all_chosen, "a final choice of each", within=60)
        for job in made.values():
            ends = job.scripted.script.epoch_ends
            curve = job.scripted.curve
            best = min(ends, key=lambda s: curve.values(s)["full_valid_loss"])
            model = job.scripted.model_name(None if best == ends[-1] else best)
            assert (await daemon.cli("best", job.id)).out.strip() == model
        found = await jobs_of(daemon)
        assert {name: found[job.id]["source"] for name, job in made.items()} == {
            name: name for name in made
        }
        series = await daemon.metrics()
        finishes = [name for name in series if "estimated_finish_timestamp" in name]
        assert finishes == []
        info = [name for name in series if name.startswith("tunewatch_job_info")]
        classic = next(name for name in info if made["classic"].id in name)
        assert 'base_model="gpt-4.1-2025-04-14"' in classic
        assert await daemon.stop() == 0
        said = daemon.said.read_text()
    assert AZURE_KEY not in said
    assert TOKEN not in said
    assert {r.scheme for r in az.requests if r.key == AZURE_KEY} == {"api-key"}
    assert {r.scheme for r in az.requests if r.key == TOKEN} == {"bearer"}
    assert not [r for r in az.requests if r.status in (400, 401, 403)]


async def test_keys_and_tokens_are_exchanged_without_a_restart(program, azure):
    api, endpoint = azure
    api.add_token(TOKEN)
    key, token = program.directory / "key", program.directory / "token"
    key.write_text(AZURE_KEY)
    token.write_text(TOKEN)
    configure(
        program,
        f'[source_defaults]\nkind = "azure"\nendpoint = "{endpoint}"\n{QUICK}'
        '[sources.by_key]\napi_key_file = "key"\n'
        '[sources.by_token]\nentra_token_file = "token"\nrealm = "azure:other"\n',
    )
    async with running(program) as daemon:

        async def state(name: str) -> str:
            found: str = (await daemon.part("sources", name))["state"]
            return found

        async def both_up() -> bool:
            return [await state(name) for name in ("by_key", "by_token")] == ["up"] * 2

        await eventually(both_up, "both are up")
        # A token is exchanged before it ends: nobody notices.
        api.add_token("entra-token-canary-2")
        token.write_text("entra-token-canary-2")
        await api.requests.wait_for("GET *")
        await eventually(
            lambda: any(r.key == "entra-token-canary-2" for r in api.requests),
            "the new token is used",
        )
        api.revoke_key(TOKEN)
        api.rotate_key(AZURE_KEY, "azure-key-canary-2")
        trouble = await daemon.logged("source.trouble", source="by_key")
        assert "401" in trouble["reason"]
        assert "that it is of this resource" in trouble["reason"]
        assert await state("by_key") == "refused"
        key.write_text("azure-key-canary-2")
        await daemon.logged("source.answers_again", source="by_key")
        assert not [
            line
            for line in daemon.log("source.trouble")
            if line["source"] == "by_token"
        ]
        # One that ended first is refused, and the next tried as soon as it is there.
        api.revoke_key("entra-token-canary-2")
        refused = await daemon.logged("source.trouble", source="by_token")
        assert "Access token is missing, invalid" in refused["reason"]
        api.add_token("entra-token-canary-3")
        token.write_text("entra-token-canary-3")
        again = await daemon.logged("source.answers_again", source="by_token")
        assert again["after"] < REFUSED_AGAIN
        assert await daemon.stop() == 0
    assert not re.search(r"canary", daemon.said.read_text())


async def test_a_managed_identity_opens_a_resource(program, azure):
    api, endpoint = azure
    api.add_token("entra-token-1")
    async with identity_server() as identity:
        program.environ |= identity.environ
        program.environ["AZURE_TOKEN_CREDENTIALS"] = "ManagedIdentityCredential"
        configure(
            program,
            f'[sources.east]\nkind = "azure"\nendpoint = "{endpoint}"\n'
            f"entra = true\n{QUICK}",
        )
        job = api.add_job(outcome="paused").id
        async with running(program) as daemon:

            async def knows() -> bool:
                return job in await jobs_of(daemon)

            await eventually(knows, "the job is known")
            assert await daemon.stop() == 0
        assert len(identity.asked) == 1
        identity.refuses = 400
        done = await ended(program, "check")
    assert done.code == 69
    assert "failed  source east: " in done.out
    assert "Entra ID gives no token" in done.out
    assert "entra-token-1" not in daemon.said.read_text()


async def test_check_tells_what_is_wrong_with_a_form(program, azure):
    _, endpoint = azure
    configure(
        program,
        f'[source_defaults]\nkind = "azure"\napi_key = "{AZURE_KEY}"\n'
        f'[sources.fine]\nendpoint = "{endpoint}"\napi_version = "{CLASSIC}"\n'
        f'[sources.astray]\nendpoint = "{endpoint}/elsewhere"\n'
        f'[sources.stranger]\nendpoint = "{endpoint}"\napi_key = "of another"\n',
    )
    done = await ended(program, "check")
    lines = {line.split(":")[0]: line for line in done.out.splitlines()}
    assert done.code == 69
    assert lines["ok      source fine"].endswith("answers and has no jobs yet")
    assert "check endpoint and api_version" in lines["failed  source astray"]
    assert "characters that no key has" in lines["failed  source stranger"]
    assert AZURE_KEY not in done.out + done.err

"""The simulated API in Azure's dialect, as the SDK's clients see it."""

from __future__ import annotations

import csv
import io
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import APIStatusError, AsyncAzureOpenAI, AsyncOpenAI
from openai.types.file_object import FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import TypeAdapter

from support.simulated import START, still_api
from tunewatch.testing import DEFAULT_KEY, SimulatedApi
from tunewatch.testing.azure_jobs import FILE_LAG

TOKEN = "entra-token-1"
CLASSIC = "2024-10-21"


def azure(**settings: Any) -> SimulatedApi:
    api = still_api(dialect="azure", **settings)
    api.add_token(TOKEN)
    return api


@asynccontextmanager
async def client_of(api: SimulatedApi, **signed_in: Any):
    """Serve it and give the SDK's Azure client, which never retries by itself."""
    how = signed_in or {"api_key": DEFAULT_KEY}
    async with (
        api.serve() as endpoint,
        AsyncAzureOpenAI(
            azure_endpoint=endpoint, api_version=CLASSIC, max_retries=0, **how
        ) as client,
    ):
        yield client


def checked(kind: Any, answer: Any, **filled: Any) -> Any:
    """Validate strictly what the client, which checks nothing, let through.

    `filled` are fields that the SDK's types demand and that Azure leaves out.
    """
    said = {**filled, **answer.to_dict()}
    return TypeAdapter(kind).validate_python(said, strict=False)


def checked_job(job: Any) -> Any:
    """Validate a job; what Azure leaves out, or says in its own words, is filled in."""
    said = job.to_dict()
    words = {"pending": "queued", "pausing": "running", "resuming": "queued"}
    said["status"] = {"paused": "queued", **words}.get(said["status"], said["status"])
    said["result_files"] = said["result_files"] or []
    for hyperparameters in (
        said["hyperparameters"],
        said["method"]["supervised"]["hyperparameters"],
    ):
        for name, value in hyperparameters.items():
            hyperparameters[name] = "auto" if value == -1 else value
    said.setdefault("organization_id", "none at Azure")
    return TypeAdapter(FineTuningJob).validate_python({"error": None, **said})


async def everything(client: Any, job_id: str) -> list[Any]:
    listed = client.fine_tuning.jobs.list_events(job_id, limit=50)
    return [event async for event in listed]


async def test_every_answer_is_valid_by_the_sdk_s_types_at_every_moment():
    api = azure()
    job = api.add_job(suffix="chart-qa", steps=40, pause_at=0.5, pause_for=60)
    async with client_of(api) as client:
        for moment in [*job.scripted.changes, job.settles_at]:
            api.clock.advance_to(moment)
            checked_job(await client.fine_tuning.jobs.retrieve(job.id))
        for event in await everything(client, job.id):
            checked(FineTuningJobEvent, event)
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
        for item in saved.data:
            checked(FineTuningJobCheckpoint, item)
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        file = await client.files.retrieve(shown.result_files[0])
    assert checked(FileObject, file).purpose == "fine-tune-results"
    assert len(saved.data) == 3


async def test_a_job_waits_pauses_and_comes_back_in_azure_s_words():
    api = azure()
    job = api.add_job(steps=20, pause_at=0.5, pause_for=60)
    seen = []
    async with client_of(api) as client:
        for moment in job.scripted.changes:
            api.clock.advance_to(moment)
            seen.append((await client.fine_tuning.jobs.retrieve(job.id)).status)
    assert list(dict.fromkeys(seen)) == [
        *("pending", "running", "pausing", "paused", "resuming", "succeeded"),
    ]


async def test_a_job_object_has_azure_s_fields():
    api = azure()
    job = api.add_job(suffix="chart-qa")
    async with client_of(api) as client:
        before = (await client.fine_tuning.jobs.retrieve(job.id)).to_dict()
        api.clock.advance_to(job.settles_at)
        after = (await client.fine_tuning.jobs.retrieve(job.id)).to_dict()
    assert before["hyperparameters"]["n_epochs"] == -1
    assert after["hyperparameters"]["n_epochs"] == 3
    assert before["result_files"] is None
    absent = {"organization_id", "error", "metadata", "integrations"}
    assert not absent & after.keys()
    assert after["suffix"] == "chart-qa"
    assert after["training_type"] == "Standard"
    assert after["estimated_finish"] > after["finished_at"]
    root = f"gpt-4.1-mini-2025-04-14.ft-{job.id.removeprefix('ftjob-')}"
    assert after["fine_tuned_model"] == f"{root}-chart-qa"
    assert len(job.id) == len("ftjob-") + 32


async def test_what_azure_says_of_a_job_is_said_in_its_order():
    api = azure()
    job = api.add_job(steps=20, epochs=2)
    async with client_of(api) as client:
        api.clock.advance_to(job.ends_at)
        early = await everything(client, job.id)
        api.clock.advance_to(job.settles_at)
        events = (await everything(client, job.id))[::-1]
    assert early[0].message == "Job succeeded."
    file = job.scripted.result_file
    texts = [event.message for event in events if event.type == "message"]
    assert texts == [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Preprocessing running for file training file.",
        "Preprocessing completed for file training file.",
        "Preprocessing completed for file validation file.",
        "Job started.",
        "Data Import started.",
        "Finetuning started.",
        "Job queued, waiting for GPUs.",
        "Training started.",
        f"Created results file: {file}",
        "Job succeeded.",
        "Model Evaluation Passed.",
        "Postprocessing started.",
        f"Completed results file: {file}",
        f"Training tokens billed: {job.scripted.trained_tokens}",
    ]
    assert events[-1].created_at - int(job.ends_at) == 36
    steps = [event for event in events if event.type == "metrics"]
    assert [event.data["step"] for event in steps] == [1, 10, 20]
    assert all("total_steps" not in event.data for event in steps)
    loss = steps[-1].data["train_loss"]
    assert steps[-1].message == f"Step 20: training loss={loss!r}".replace("e-", "E-")
    assert all("data" not in e.to_dict() for e in events if e.type == "message")
    stamp = steps[0].id.removeprefix("ftevent-")
    assert len(stamp) == 32
    assert stamp[1:16] == stamp[16:31]


async def test_rewards_are_billed_by_the_hour_and_steps_can_be_text_alone():
    api = azure()
    rewarded = api.add_job(method="reinforcement", steps=10)
    terse = api.add_job(steps=20, metrics_as_text=True)
    api.clock.advance_to(max(rewarded.settles_at, terse.settles_at))
    async with client_of(api) as client:
        hours = (await everything(client, rewarded.id))[0].message
        steps = [
            event
            for event in await everything(client, terse.id)
            if event.type == "metrics"
        ]
    assert hours == f"Training hours billed: {rewarded.scripted.life.hours:.3f}"
    assert [event.message.partition(":")[0] for event in steps] == [
        *("Step 20", "Step 13", "Step 10", "Step 7", "Step 1"),
    ]
    assert not any("data" in event.to_dict() for event in steps)


async def test_a_result_file_is_plain_and_grows_until_after_the_end():
    api = azure()
    job = api.add_job(steps=40, epochs=2)
    life = job.scripted.life

    async def rows(client: Any, moment: float) -> list[str]:
        api.clock.advance_to(moment)
        content = await client.files.content(job.scripted.result_file)
        table = csv.DictReader(io.StringIO(content.text))
        return [row["step"] for row in table if row["train_loss"]]

    async with client_of(api) as client:
        with pytest.raises(APIStatusError, match="404"):
            await client.files.content(job.scripted.result_file)
        assert await rows(client, life.stretches[0].start) == []
        middle = await rows(client, life.moment_of(20) + FILE_LAG)
        assert middle == ["1", "10", "20"]
        assert await rows(client, job.ends_at) == ["1", "10", "20", "30"]
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        assert shown.result_files == [job.scripted.result_file]
        assert await rows(client, job.settles_at) == ["1", "10", "20", "30", "40"]


async def test_checkpoints_have_azure_s_ids_and_full_values():
    api = azure()
    job = api.add_job(suffix="chart-qa", steps=40, epochs=4)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        saved = (await client.fine_tuning.jobs.checkpoints.list(job.id)).data
    assert [item.step_number for item in saved] == [40, 30, 20]
    assert {len(item.id.removeprefix("ftchkpt-")) for item in saved} == {32}
    assert all(item.metrics.full_valid_loss for item in saved)
    names = [item.fine_tuned_model_checkpoint for item in saved]
    assert names[0] == job.scripted.model_name()
    assert names[1] == f"{names[0]}:ckpt-step-30"


@pytest.mark.parametrize("below", ["", "/api/projects/chat"])
@pytest.mark.parametrize("key", [DEFAULT_KEY, TOKEN])
async def test_the_form_without_a_version_takes_what_openai_s_client_sends(below, key):
    api = azure()
    job = api.add_job()
    async with (
        api.serve() as endpoint,
        AsyncOpenAI(
            base_url=f"{endpoint}{below}/openai/v1", api_key=key, max_retries=0
        ) as client,
    ):
        listed = await client.fine_tuning.jobs.list()
        preview = await client.fine_tuning.jobs.list(
            extra_query={"api-version": "preview"}
        )
    assert [item.id for item in listed.data] == [job.id]
    assert [item.id for item in preview.data] == [job.id]
    assert {request.scheme for request in api.requests} == {"bearer"}


async def test_the_dated_form_takes_a_key_by_its_header_and_a_token_as_bearer():
    api = azure()
    for way in ({"api_key": DEFAULT_KEY}, {"azure_ad_token": TOKEN}):
        async with client_of(api, **way) as client:
            await client.fine_tuning.jobs.list()
    assert [request.scheme for request in api.requests] == ["api-key", "bearer"]
    for wrong in ({"api_key": TOKEN}, {"azure_ad_token": DEFAULT_KEY}):
        async with client_of(api, **wrong) as client:
            with pytest.raises(APIStatusError) as raised:
                await client.fine_tuning.jobs.list()
        assert raised.value.status_code == 401
        assert raised.value.body["code"] == "401"
        assert set(raised.value.body) == {"code", "message"}


@pytest.mark.parametrize(
    ("path", "query", "status", "told"),
    [
        ("/openai/", {}, 404, "Resource not found"),
        ("/openai/", {"api-version": "soon"}, 404, "Resource not found"),
        ("/v1/", {}, 404, "Resource not found"),
        ("/openai/v1/openai/", {}, 404, "Invalid URL"),
        ("/openai/v1/", {"api-version": CLASSIC}, 400, "API version not supported"),
    ],
)
async def test_a_path_of_no_form_is_refused_as_azure_does(path, query, status, told):
    api = azure()
    async with (
        api.serve() as endpoint,
        AsyncOpenAI(
            base_url=f"{endpoint}{path}", api_key=DEFAULT_KEY, max_retries=0
        ) as client,
    ):
        with pytest.raises(APIStatusError, match=told) as raised:
            await client.fine_tuning.jobs.list(extra_query=query)
    assert raised.value.status_code == status


async def test_a_limit_of_the_list_is_the_api_s_to_set():
    api = azure(largest_page=2)
    jobs = api.put_many(5)
    async with client_of(api) as client:
        page = await client.fine_tuning.jobs.list(limit=100)
        found = [item.id async for item in client.fine_tuning.jobs.list(limit=100)]
    assert (len(page.data), page.has_more) == (2, True)
    assert found == [job.id for job in jobs[::-1]]


async def test_a_job_can_be_created_cancelled_and_resumed_by_requests():
    api = azure()
    async with client_of(api) as client:
        made = await client.fine_tuning.jobs.create(
            model="gpt-4.1-nano-2025-04-14", training_file="file-abc", suffix="mine"
        )
        api.clock.advance(150)
        paused = await client.fine_tuning.jobs.pause(made.id)
        api.clock.advance(60)
        await client.fine_tuning.jobs.resume(made.id)
        back = await client.fine_tuning.jobs.retrieve(made.id)
        over = await client.fine_tuning.jobs.cancel(made.id)
    assert made.created_at == START
    assert (made.status, paused.status) == ("pending", "pausing")
    assert (back.status, over.status) == ("resuming", "cancelled")

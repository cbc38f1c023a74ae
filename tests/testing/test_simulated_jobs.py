"""What a scripted job shows, moment by moment, to the real client."""

from __future__ import annotations

import base64
import csv
import io
from typing import Any

import pytest
from openai import APIStatusError
from openai.types.file_object import FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import TypeAdapter

from support.simulated import START, client_of, still_api
from tunewatch.testing import Script, SimulatedApi, SimulatedClock


def checked(kind: Any, answer: Any) -> Any:
    """Validate strictly what the client, which checks nothing, let through."""
    return TypeAdapter(kind).validate_python(answer.to_dict(), strict=False)


async def everything(client: Any, job_id: str) -> list[Any]:
    listed = client.fine_tuning.jobs.list_events(job_id, limit=50)
    return [event async for event in listed]


async def statuses(api: SimulatedApi, client: Any, job: Any) -> list[str]:
    """Return the statuses a watcher sees who looks every simulated second."""
    seen: list[str] = []
    for _ in range(4000):
        status = job.fields(api.clock.now())["status"]
        if not seen or seen[-1] != status:
            seen.append((await client.fine_tuning.jobs.retrieve(job.id)).status)
        api.clock.advance(1)
    return seen


async def test_a_job_goes_from_validation_to_success_and_stays_valid_by_the_schema():
    api = still_api()
    job = api.add_job(suffix="router", metadata={"team": "a"})
    async with client_of(api) as client:
        seen = []
        for moment in [*job.scripted.changes, job.settles_at]:
            api.clock.advance_to(moment)
            shown = await client.fine_tuning.jobs.retrieve(job.id)
            seen.append(checked(FineTuningJob, shown).status)
    assert list(dict.fromkeys(seen)) == [
        "validating_files",
        "queued",
        "running",
        "succeeded",
    ]
    assert shown.fine_tuned_model.startswith("ft:gpt-4.1-mini-2025-04-14:acme:router:")
    assert shown.finished_at == int(job.ends_at)
    assert shown.trained_tokens > 0
    assert shown.metadata == {"team": "a"}


async def test_auto_turns_into_numbers_while_files_are_still_validated():
    api = still_api()
    job = api.add_job(validating=50)
    async with client_of(api) as client:
        before = await client.fine_tuning.jobs.retrieve(job.id)
        api.clock.advance(35)
        after = await client.fine_tuning.jobs.retrieve(job.id)
    assert {before.status, after.status} == {"validating_files"}
    assert before.hyperparameters.n_epochs == "auto"
    assert after.hyperparameters.n_epochs == 3
    assert after.method.supervised.hyperparameters.n_epochs == 3


async def test_what_is_said_after_the_end_comes_seconds_later_and_all_at_once():
    api = still_api()
    job = api.add_job()
    async with client_of(api) as client:
        api.clock.advance_to(job.ends_at)
        at_the_end = await client.fine_tuning.jobs.retrieve(job.id)
        told = await everything(client, job.id)
        api.clock.advance(40)
        settled = await client.fine_tuning.jobs.retrieve(job.id)
        late = (await everything(client, job.id))[: -len(told)]
    assert at_the_end.status == "succeeded"
    assert at_the_end.result_files == []
    assert len(settled.result_files) == 1
    model = settled.fine_tuned_model
    assert [event.message.partition(" with")[0] for event in late] == [
        "The job has successfully completed",
        f"New fine-tuned model created: {model}",
        "Checkpoint created at step 60",
        "Checkpoint created at step 30",
    ]
    assert len({event.created_at for event in late[1:]}) == 1


async def test_events_are_newest_first_valid_by_the_schema_and_come_in_bursts():
    api = still_api()
    job = api.add_job(steps=30, seconds_per_step=1)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        events = await everything(client, job.id)
    for event in events:
        checked(FineTuningJobEvent, event)
    stamps = [event.created_at for event in events]
    assert stamps == sorted(stamps, reverse=True)
    assert len({event.id for event in events}) == len(events)
    metrics = [event for event in events if event.type == "metrics"]
    assert [event.data["step"] for event in metrics] == list(range(30, 0, -1))
    assert len({event.created_at for event in metrics}) < 15
    training, validation = job.scripted.training_file, job.scripted.validation_file
    assert [event.message for event in events[-4:]] == [
        "Fine-tuning job started",
        "Files validated, moving job to queued state",
        f"Validating training file: {training} and validation file: {validation}",
        f"Created fine-tuning job: {job.id}",
    ]


async def test_full_validation_comes_at_the_ends_of_epochs_only():
    api = still_api()
    job = api.add_job(steps=60, epochs=3, validate_every=7)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        events = await everything(client, job.id)
    data = [event.data for event in events if event.type == "metrics"]
    full = {point["step"] for point in data if "full_valid_loss" in point}
    validated = {point["step"] for point in data if "valid_loss" in point}
    assert full == {20, 40, 60}
    assert validated == full | set(range(7, 61, 7))


async def test_a_job_without_validation_file_has_no_validation_number_anywhere():
    api = still_api()
    job = api.add_job(validation=False)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        events = await everything(client, job.id)
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
    assert shown.validation_file is None
    assert not [event for event in events if "valid_loss" in str(event.data)]
    assert all(point.metrics.valid_loss is None for point in saved.data)


async def test_only_the_checkpoints_of_the_last_three_epochs_are_listed():
    api = still_api()
    job = api.add_job(epochs=5, steps=50)
    listed = []
    async with client_of(api) as client:
        while api.clock.now() <= job.settles_at:
            page = await client.fine_tuning.jobs.checkpoints.list(job.id)
            steps = [point.step_number for point in page.data]
            if not listed or listed[-1] != steps:
                listed.append(steps)
            api.clock.advance(5)
        final = await client.fine_tuning.jobs.retrieve(job.id)
    assert listed == [[], [10], [20, 10], [30, 20, 10], [40, 30, 20], [50, 40, 30]]
    assert page.data[0].fine_tuned_model_checkpoint == final.fine_tuned_model
    assert page.data[1].fine_tuned_model_checkpoint.endswith(":ckpt-step-40")
    assert page.to_dict()["first_id"] == page.data[0].id
    assert page.to_dict()["last_id"] == page.data[-1].id
    for point in page.data:
        checked(FineTuningJobCheckpoint, point)


@pytest.mark.parametrize("full", [False, True])
async def test_full_metrics_are_in_checkpoints_only_where_a_script_wants_them(full):
    api = still_api()
    job = api.add_job(full_valid_in_checkpoints=full)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        page = await client.fine_tuning.jobs.checkpoints.list(job.id)
    for point in page.data:
        assert (point.metrics.full_valid_loss is not None) is full


async def test_checkpoints_can_be_listed_at_the_end_only():
    api = still_api()
    job = api.add_job(checkpoints_while_running=False)
    async with client_of(api) as client:
        api.clock.advance_to(job.ends_at - 1)
        early = await client.fine_tuning.jobs.checkpoints.list(job.id)
        api.clock.advance(1)
        late = await client.fine_tuning.jobs.checkpoints.list(job.id)
    assert (len(early.data), len(late.data)) == (0, 3)


async def test_the_result_file_is_base64_of_a_csv_with_a_row_for_every_step():
    api = still_api()
    job = api.add_job(steps=45)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        (file_id,) = shown.result_files
        content = await client.files.content(file_id)
        about = await client.files.retrieve(file_id)
    text = base64.b64decode(content.content, validate=True).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert content.text.startswith("c3RlcCx")
    assert [int(row["step"]) for row in rows] == list(range(1, 46))
    assert rows[0]["valid_loss"] == ""
    assert list(rows[0]) == [
        "step",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
    ]
    checked(FileObject, about)
    assert about.bytes == len(text)
    assert about.created_at == shown.finished_at + 3


@pytest.mark.parametrize("outcome", ["invalid_training_file", "invalid_n_examples"])
async def test_a_job_that_fails_validation_never_ran_and_never_finished(outcome):
    api = still_api()
    job = api.add_job(outcome=outcome)
    async with client_of(api) as client:
        assert await statuses(api, client, job) == ["validating_files", "failed"]
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        events = await everything(client, job.id)
    assert shown.finished_at is None
    assert shown.error.code == outcome
    assert shown.result_files == []
    assert events[0].level == "error"
    assert "metrics" not in {event.type for event in events}


async def test_a_job_can_fail_in_mid_run_and_keeps_what_it_had():
    api = still_api()
    job = api.add_job(outcome="failed", at=0.5)
    async with client_of(api) as client:
        assert (await statuses(api, client, job))[-1] == "failed"
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        events = await everything(client, job.id)
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
    last = max(event.data["step"] for event in events if event.type == "metrics")
    assert shown.finished_at == int(job.ends_at)
    assert shown.error.code == "server_error"
    assert shown.fine_tuned_model is None
    assert 40 <= last <= 45
    assert [point.step_number for point in saved.data] == [30]


async def test_a_blocked_model_is_told_by_an_event_of_a_type_of_its_own():
    api = still_api()
    job = api.add_job(outcome="moderation")
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        events = await everything(client, job.id)
    (told,) = [event for event in events if event.type == "moderation_checks"]
    assert told.data["blocked"] is True
    assert shown.status == "failed"
    assert shown.fine_tuned_model is None


async def test_a_paused_job_goes_on_by_itself_where_it_stood():
    api = still_api()
    job = api.add_job(pause_at=0.5, pause_for=120)
    straight = still_api().add_job()
    async with client_of(api) as client:
        seen = await statuses(api, client, job)
        events = await everything(client, job.id)
    assert seen == [
        "validating_files",
        "queued",
        "running",
        "pausing",
        "paused",
        "queued",
        "running",
        "succeeded",
    ]
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    assert steps == list(range(90, 0, -1))
    rest = job.ends_at - straight.ends_at
    assert 125 <= rest <= 125 + 45


async def test_requests_pause_resume_and_cancel_a_job():
    api = still_api()
    job = api.add_job()
    jobs_seen = []
    async with client_of(api) as client:
        jobs = client.fine_tuning.jobs
        with pytest.raises(APIStatusError) as too_early:
            await jobs.resume(job.id)
        api.clock.advance(300)
        jobs_seen.append((await jobs.pause(job.id)).status)
        api.clock.advance(600)
        jobs_seen.append((await jobs.retrieve(job.id)).status)
        told = await everything(client, job.id)
        jobs_seen.append((await jobs.resume(job.id)).status)
        api.clock.advance(60)
        jobs_seen.append((await jobs.retrieve(job.id)).status)
        jobs_seen.append((await jobs.cancel(job.id)).status)
        api.clock.advance(3600)
        after = await everything(client, job.id)
        with pytest.raises(APIStatusError) as too_late:
            await jobs.cancel(job.id)
        ended = await jobs.retrieve(job.id)
    assert jobs_seen == ["pausing", "paused", "queued", "running", "cancelled"]
    assert too_early.value.status_code == too_late.value.status_code == 400
    assert ended.finished_at is not None
    assert [event.id for event in after][-len(told) :] == [event.id for event in told]


async def test_a_preference_job_starts_near_the_logarithm_of_two():
    api = still_api()
    job = api.add_job(method="dpo")
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        shown = await client.fine_tuning.jobs.retrieve(job.id)
        events = await everything(client, job.id)
    assert shown.hyperparameters is None
    assert shown.method.dpo.hyperparameters.beta == 0.1
    first = next(event for event in reversed(events) if event.type == "metrics")
    assert 0.4 < first.data["train_loss"] < 0.95
    assert "train_mean_token_accuracy" not in first.data


async def test_a_reinforcement_job_nests_its_metrics_as_documented():
    api = still_api()
    job = api.add_job(method="reinforcement", steps=20)
    api.clock.advance_to(job.settles_at)
    async with client_of(api) as client:
        events = await everything(client, job.id)
        saved = await client.fine_tuning.jobs.checkpoints.list(job.id)
    tenth = next(event for event in events if "Step 20/20" in event.message)
    data = tenth.data
    assert tenth.message.startswith("Step 20/20 , train mean reward=")
    assert data["scores"]["valid_reward_mean"] == data["full_valid_mean_reward"]
    assert {grader["name"] for grader in data["scores"]["graders"]} == {
        "answer_grader",
        "format_check",
    }
    assert set(data) >= {"usage", "errors", "timing", "model_graders_token_usage"}
    assert [point.step_number for point in saved.data] == [20, 16, 12]
    assert (
        saved.data[0].metrics.full_valid_mean_reward == data["full_valid_mean_reward"]
    )


async def test_a_job_can_be_created_by_a_request_and_lives():
    api = still_api()
    async with client_of(api) as client:
        made = await client.fine_tuning.jobs.create(
            model="gpt-4.1-nano-2025-04-14",
            training_file="file-abc",
            suffix="mine",
            metadata={"team": "b"},
            method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3}}},
        )
        api.clock.advance_to(api.job(made.id).settles_at)
        ended = await client.fine_tuning.jobs.retrieve(made.id)
        with pytest.raises(APIStatusError) as incomplete:
            await client.fine_tuning.jobs.create(
                model="gpt-4.1-nano-2025-04-14",
                training_file=None,  # type: ignore[arg-type]
            )
        api.accepts_jobs = False
        with pytest.raises(APIStatusError) as wound_down:
            await client.fine_tuning.jobs.create(model="m", training_file="f")
    assert (made.status, ended.status) == ("validating_files", "succeeded")
    assert made.created_at == START
    assert ended.method.dpo.hyperparameters.beta == 0.3
    assert incomplete.value.param == "training_file"
    assert wound_down.value.code == "training_not_available"


async def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    async def told(seed: int) -> bytes:
        api = still_api(seed=seed)
        job = api.add_job(method="supervised", curve="noisy")
        api.clock.advance_to(START + 1000)
        async with client_of(api) as client:
            events = await client.fine_tuning.jobs.with_raw_response.list_events(job.id)
            shown = await client.fine_tuning.jobs.with_raw_response.retrieve(job.id)
        return events.content + shown.content

    assert await told(7) == await told(7) != await told(8)


def test_a_fast_clock_leaves_no_stamp_in_the_future():
    ours = [100.0]
    clock = SimulatedClock(start=5_000, scale=60, monotonic=lambda: ours[0])
    ours[0] += 30
    assert clock.now() == 5_000 + 1_800
    assert clock.stamp(clock.now()) == 5_030
    assert clock.stamp(4_000) == 4_000
    ahead = SimulatedClock(start=0, scale=60, compress=False, monotonic=lambda: ours[0])
    assert ahead.stamp(1_800) == 1_800


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "distillation"}, "wanted one of supervised, dpo"),
        ({"curve": "wild"}, "wanted one of converge"),
        ({"outcome": "great"}, "wanted one of succeeded"),
        ({"epochs": 9, "steps": 3}, "found 9 and 3"),
        ({"pause_at": 1.5}, "pause_at: wanted a part"),
    ],
)
def test_a_script_that_cannot_be_acted_is_refused_with_the_reason(wrong, said):
    with pytest.raises(ValueError, match=said):
        Script(**wrong)

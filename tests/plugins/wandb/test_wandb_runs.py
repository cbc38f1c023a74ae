"""One run for a job, as W&B's own client tells it to a server."""

from __future__ import annotations

import pytest

from support.wandb_server import ServedRun
from support.wandb_story import Story, account


async def told(sink, *deliveries):
    for delivery in deliveries:
        await sink.deliver(delivery)


async def test_a_job_has_one_run_with_its_id_name_tags_group_and_link(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(
        jobs, tmp_path, server.url, group_from="team", tags=["nightly"]
    ) as sink:
        await told(sink, job.found(), job.status("running"))
    (run,) = server.runs.values()
    assert (run.name, run.project, run.entity) == ("ftjob-one", "fine-tuning", "acme")
    assert (run.display, run.group, run.job_type) == ("support-bot", "a", "fine-tune")
    assert run.tags == [
        "openai/fine-tuning",
        "openai/ftjob-one",
        "openai/gpt-4o-mini-2024-07-18",
        "nightly",
    ]
    assert "https://platform.openai.com/finetune/ftjob-one" in run.notes


async def test_what_people_changed_in_wandb_stays(server, jobs, tmp_path):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.found())
    run = server.runs["ftjob-one"]
    run.display, run.tags = "the good one", ["mine"]
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.status("running"))
    assert (run.display, run.tags) == ("the good one", ["mine"])


async def test_jobs_go_where_their_route_says(server, jobs, tmp_path):
    routes = [
        {"source": "prod-*", "project": "production", "entity": "ops"},
        {"metadata": {"team": "b"}, "project": "team-b", "group": "b", "tags": ["b"]},
    ]
    stories = [
        Story(jobs, "ftjob-1", source="prod-eu"),
        Story(jobs, "ftjob-2", metadata={"team": "b"}),
        Story(jobs, "ftjob-3"),
    ]
    async with account(jobs, tmp_path, server.url, routes=routes) as sink:
        for job in stories:
            await told(sink, job.found())
    where = {r.name: (r.entity, r.project, r.group) for r in server.runs.values()}
    assert where == {
        "ftjob-1": ("ops", "production", None),
        "ftjob-2": ("acme", "team-b", "b"),
        "ftjob-3": ("acme", "fine-tuning", None),
    }
    assert "b" in server.runs["ftjob-2"].tags


async def test_points_stand_at_their_training_step_and_late_ones_too(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await told(
            sink,
            job.status("running"),
            job.trained(10, 20),
            job.trained(20, full_valid_loss=0.4),
            job.trained(5, train_loss=9.0),
        )
    run = server.runs["ftjob-one"]
    assert [(r["_step"], r["point"], r["train_step"]) for r in run.rows] == [
        (1, 1, 10),
        (2, 2, 20),
        (3, 3, 20),
        (4, 4, 5),
    ]
    assert run.rows[2]["full_valid_loss"] == 0.4
    assert run.rows[3]["train_loss"] == 9.0
    # The summary is of the highest step, not of what came last.
    assert run.summary["train_loss"] == 1 / 20
    assert run.summary["total_steps"] == 100
    axes = run.said["_wandb"]["value"]["m"]
    (every,) = [axis for axis in axes if axis.get("2") == "*"]
    assert axes[every["5"] - 1]["1"] == "train_step"  # by place, from 1


async def test_graders_are_sections_of_their_own(server, jobs, tmp_path):
    job = Story(jobs, method={"type": "reinforcement"})
    values = {"train_mean_reward": 0.5, "train_reward.answer_grader": 0.7}
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.status("running"), job.trained(1, **values))
    (row,) = server.runs["ftjob-one"].rows
    assert row["train_mean_reward"] == 0.5
    assert row["train_reward/answer_grader"] == 0.7


async def test_repeats_restarts_and_another_replica_double_nothing(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path / "a", server.url) as sink:
        await told(sink, job.status("running"), job.trained(1, 2, 3), job.said("hi"))
        await told(sink, job.repeated(1, 2, 3), job.repeated(2))
    async with account(jobs, tmp_path / "a", server.url) as sink:
        await told(sink, job.repeated(3), job.trained(4, 5))
    async with account(jobs, tmp_path / "b", server.url) as sink:
        await told(sink, job.repeated(4, 5), job.trained(6), job.said("ho"))
    run = server.runs["ftjob-one"]
    assert run.points == [1, 2, 3, 4, 5, 6]
    assert [line.split()[-1] for line in run.lines] == ["hi", "ho"]


async def test_a_run_that_is_opened_gets_what_it_lacks_from_the_store(
    server, jobs, tmp_path
):
    job = Story(jobs)
    job.status("running")
    job.trained(*range(1, 51))
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.trained(51))
    assert server.runs["ftjob-one"].points == list(range(1, 52))


async def test_the_summary_tells_the_outcome_and_the_best_checkpoint(
    server, jobs, tmp_path
):
    job = Story(jobs)
    name = "ft:gpt-4o-mini-2024-07-18:acme:support-bot:abc"
    async with account(jobs, tmp_path, server.url) as sink:
        ended = job.status("succeeded", fine_tuned_model=name, trained_tokens=379)
        await told(sink, job.selected(10, 0.5, "provisional"), ended)
        await told(sink, job.settles(), job.selected(20, 0.25))
    summary = server.runs["ftjob-one"].summary
    assert summary["fine_tuned_model"] == name
    assert summary["trained_tokens"] == 379
    best = {k: v for k, v in summary.items() if k.startswith("best/")}
    assert best == {
        "best/step": 20,
        "best/value": 0.25,
        "best/metric": "full_valid_loss",
        "best/decision": "final",
        "best/model": f"{name}:ckpt-step-20",
        "best/reason": "full_valid_loss is lowest at step 20",
    }


async def test_where_none_is_chosen_nothing_is_left_of_the_choice_before(
    server, jobs, tmp_path
):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.selected(10, 0.5, "provisional"))
        await told(sink, job.unselected("checkpoint_removed", "it is gone"))
    summary = server.runs["ftjob-one"].summary
    assert summary["best/decision"] == "none"
    assert summary["best/reason"] == "it is gone"
    assert summary.get("best/model") is None


async def test_model_and_files_are_references_with_aliases_and_lineage(
    server, jobs, tmp_path
):
    job = Story(jobs)
    model = "ft:gpt-4o-mini-2024-07-18:acme:support-bot:abc"
    async with account(jobs, tmp_path, server.url) as sink:
        ended = job.status("succeeded", fine_tuned_model=model)
        await told(sink, ended, job.settles(), job.selected(20, 0.25))
    made = {}
    for artifact in server.artifacts:
        aliases = {alias["alias"] for alias in artifact.get("aliases") or []}
        made.setdefault(artifact["artifactCollectionName"], set()).update(aliases)
    family = "support-bot-gpt-4o-mini-2024-07-18"
    assert made[family] >= {"best", "latest", "ftjob-one"}
    assert "file-train" in made["train-file-train"]
    assert set(made) == {family, "train-file-train", "valid-file-valid"}
    assert len(server.used) >= 2


async def test_messages_are_in_the_log_once(server, jobs, tmp_path):
    job = Story(jobs)
    first = job.said("Fine-tuning job started")
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, first, first, job.said("Step 1: \n loss 0.5"), first)
    lines = server.runs["ftjob-one"].lines
    assert lines == [
        "2024-08-09T12:05:59Z info Fine-tuning job started",
        "2024-08-09T12:06:00Z info Step 1: loss 0.5",
    ]


@pytest.mark.parametrize(("asked", "alerts"), [(["failed"], 1), ([], 0)])
async def test_people_are_alerted_of_a_failure_if_they_ask(
    server, jobs, tmp_path, asked, alerts
):
    job = Story(jobs)
    async with account(jobs, tmp_path, server.url, alerts=asked) as sink:
        await told(sink, job.failed("line 3 is no JSON"), job.settles())
    assert len(server.alerts) == alerts
    for alert in server.alerts:
        assert alert["title"] == "Fine-tuning failed: support-bot"
        assert alert["severity"] == "ERROR"
        assert "line 3 is no JSON" in alert["text"]


INTEGRATION = {
    "type": "wandb",
    "wandb": {"project": "theirs", "entity": "acme", "run_id": "ftjob-one"},
}


async def test_a_job_with_the_providers_own_integration_is_left_to_it(
    server, jobs, tmp_path
):
    job = Story(jobs, integrations=(INTEGRATION,))
    async with account(jobs, tmp_path, server.url) as sink:
        await told(sink, job.found(), job.trained(1), job.status("succeeded"))
    assert server.runs == {}


async def test_the_providers_run_is_annotated_and_never_filled_or_ended(
    server, jobs, tmp_path
):
    run = ServedRun("ftjob-one", "theirs", "acme", said={"epochs": {"value": 3}})
    run.history[0] = {"_step": 7, "train_loss": 0.5}
    server.runs["ftjob-one"] = run
    job = Story(jobs, integrations=(INTEGRATION,))
    async with account(jobs, tmp_path, server.url, when_server_side="annotate") as sink:
        await told(sink, job.trained(1, 2), job.status("succeeded"), job.settles())
        await told(sink, job.selected(2, 0.25))
    assert run.rows == [{"_step": 7, "train_loss": 0.5}]
    assert run.config == {"epochs": 3}
    assert run.summary["best/step"] == 2
    assert run.summary["status"] == "succeeded"


async def test_the_providers_run_is_found_by_its_tag_where_its_id_is_not_said(
    server, jobs, tmp_path
):
    theirs = {"project": "theirs", "name": "my run"}
    integration = {"type": "wandb", "wandb": theirs}
    for name, tag in (("x1", "openai/ftjob-other"), ("x2", "openai/ftjob-one")):
        server.runs[name] = ServedRun(name, "theirs", "acme", tags=["openai", tag])
    job = Story(jobs, integrations=(integration,))
    async with account(
        jobs, tmp_path, server.url, when_server_side="annotate", entity=None
    ) as sink:
        await told(sink, job.trained(1), job.status("succeeded"), job.settles())
        await told(sink, job.selected(2, 0.25))
    run, other = server.runs["x2"], server.runs["x1"]
    assert (run.summary["status"], run.summary["best/step"]) == ("succeeded", 2)
    assert run.rows == []
    assert run.tags == ["openai", "openai/ftjob-one"]
    assert other.summary == {}
    assert set(server.runs) == {"x1", "x2"}


async def test_a_duplicate_is_a_run_of_its_own(server, jobs, tmp_path):
    job = Story(jobs, integrations=(INTEGRATION,))
    async with account(
        jobs, tmp_path, server.url, when_server_side="duplicate"
    ) as sink:
        await told(sink, job.trained(1, 2))
    assert server.runs["ftjob-one-tunewatch"].points == [1, 2]


async def test_many_jobs_each_have_a_run_and_few_are_open(server, jobs, tmp_path):
    stories = [Story(jobs, f"ftjob-{n}") for n in range(10)]
    async with account(jobs, tmp_path, server.url, max_open=3) as sink:
        for job in stories:
            await told(sink, job.status("running"), job.trained(1))
        assert sum(not run.exits for run in server.runs.values()) <= 3
        for job in stories:
            await told(sink, job.trained(2), job.status("succeeded"), job.settles())
    assert len(server.runs) == 10
    assert all(run.points == [1, 2] for run in server.runs.values())
    assert all(run.exits[-1] == 0 for run in server.runs.values())

"""Jobs, their points and checkpoints, the best one: over HTTP, on a real store."""

from __future__ import annotations

import pytest

from support.operator_api import Operator, operator_api
from tunewatch.model import MetricPoint

CHECKPOINT = {"step_number": 10, "fine_tuned_model_checkpoint": "ft:run:10"}


@pytest.fixture
async def operator(tmp_path):
    async with operator_api(f"sqlite:///{tmp_path / 'state.db'}") as operator:
        yield operator


@pytest.fixture
async def stocked(operator: Operator):
    """A store with a job of every kind, the newest first."""
    to = operator.filling
    await to.job(
        "ftjob-run",
        created_at=1_760_000_300,
        suffix="router",
        metadata={"team": "a", "owner": "amara"},
        points={n: {"train_loss": 1 / n, "valid_loss": 2 / n} for n in range(1, 31)},
        checkpoints={10: {"full_valid_loss": 1.5}, 20: {}},
    )
    await to.job("ftjob-done", created_at=1_760_000_200, status="succeeded")
    await to.job("ftjob-none", created_at=1_760_000_100, status="failed")
    for source, realm in (("research", "openai:https://api"), ("other", "openai:b")):
        await to.job("twin", source=source, realm=realm, created_at=1_750_000_000)
    chosen = {"checkpoint": CHECKPOINT, "metric": "full_valid_loss", "goal": "minimize"}
    why = {"value": 1.5, "reason": "it is the lowest"}
    await to.choose("ftjob-run", "selected", **chosen, **why, decision="provisional")
    await to.choose("ftjob-done", "selected", **chosen, **why, decision="final")
    told = {"reason": "job_failed", "detail": "the job failed"}
    await to.choose("ftjob-none", "unselected", **told)
    return operator


async def test_jobs_are_a_list_like_the_providers(stocked):
    reply = await stocked.ask("/jobs?limit=2")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Server"] == "tunewatch"
    assert reply.json["object"] == "list"
    assert reply.json["has_more"] is True
    assert reply.ids == ["ftjob-run", "ftjob-done"]
    job = reply.json["data"][0]
    assert (job["source"], job["status"], job["settled"]) == (
        "research",
        "running",
        False,
    )
    assert (job["step"], job["total_steps"]) == (30, 90)
    assert job["latest"]["train_loss"] == 1 / 30
    assert job["job"]["object"] == "fine_tuning.job"
    assert job["job"]["metadata"] == {"team": "a", "owner": "amara"}
    assert job["selection"]["data"]["decision"] == "provisional"


async def test_pages_lead_to_every_job_once_even_to_twins(stocked):
    seen: list[tuple[str, str]] = []
    after = ""
    while True:
        reply = await stocked.ask(f"/jobs?limit=1{after}")
        seen += [(one["id"], one["source"]) for one in reply.json["data"]]
        if not reply.json["has_more"]:
            break
        after = f"&after={reply.json['next']}"
    assert reply.json["next"] is None
    assert seen == [
        ("ftjob-run", "research"),
        ("ftjob-done", "research"),
        ("ftjob-none", "research"),
        ("twin", "other"),
        ("twin", "research"),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("source=other", ["twin"]),
        ("source=nobody", []),
        ("status=failed", ["ftjob-none"]),
        ("settled=false", ["twin", "twin"]),
        ("model=gpt-4.1-*&suffix=router", ["ftjob-run"]),
        ("metadata[team]=a&metadata[owner]=amara", ["ftjob-run"]),
        ("metadata[team]=a&metadata[owner]=jo", []),
        ("decision=final", ["ftjob-done"]),
        ("decision=none&status=failed", ["ftjob-none"]),
        ("created_since=1760000200", ["ftjob-run", "ftjob-done"]),
        ("created_before=1760000100", ["twin", "twin"]),
        ("finished_since=1760000160", ["ftjob-done", "ftjob-none"]),
        ("finished_before=1760000260&finished_since=1", ["ftjob-none"]),
        ("after=ftjob-none&source=research", ["twin"]),
    ],
)
async def test_jobs_are_filtered(stocked, query, expected):
    reply = await stocked.ask(f"/jobs?{query}")
    assert reply.status == 200, reply
    assert reply.ids == expected


async def test_a_job_to_go_on_behind_must_be_one(stocked):
    told = await stocked.problem("/jobs?after=nobody")
    assert told["status"] == 404
    assert told["errors"] == [
        {"parameter": "after", "detail": "there is no job nobody"}
    ]
    twin = await stocked.problem("/jobs?after=twin")
    assert (twin["status"], twin["sources"]) == (409, ["other", "research"])


async def test_one_job_is_answered_by_its_id(stocked):
    reply = await stocked.ask("/jobs/ftjob-run")
    assert reply.json["object"] == "job"
    assert reply.json == (await stocked.ask("/jobs?limit=1")).json["data"][0]


@pytest.mark.parametrize("part", ["", "/points", "/checkpoints", "/best", "/events"])
async def test_a_job_that_is_not_known_is_404_and_twins_are_409(stocked, part):
    told = await stocked.problem(f"/jobs/nobody{part}")
    assert (told["status"], told["detail"]) == (404, "there is no job nobody")
    twins = await stocked.problem(f"/jobs/twin{part}")
    assert (twins["status"], twins["sources"]) == (409, ["other", "research"])
    assert (await stocked.ask(f"/jobs/twin{part}?source=other")).status == 200
    gone = await stocked.problem(f"/jobs/ftjob-run{part}?source=other")
    assert gone["status"] == 404


async def test_points_come_by_ordinal_page_by_page(stocked):
    first = (await stocked.ask("/jobs/ftjob-run/points?limit=20")).json
    assert [one["n"] for one in first["data"]] == list(range(1, 21))
    assert first["data"][0]["values"] == {"train_loss": 1.0, "valid_loss": 2.0}
    assert (first["has_more"], first["next"]) == (True, "20")
    rest = (await stocked.ask(f"/jobs/ftjob-run/points?after={first['next']}")).json
    assert [one["n"] for one in rest["data"]] == list(range(21, 31))
    assert (rest["has_more"], rest["next"]) == (False, None)


async def test_points_can_be_narrowed_to_some_metrics(stocked):
    path = "/jobs/ftjob-run/points?metrics=valid_loss,other"
    data = (await stocked.ask(path)).json["data"]
    assert len(data) == 30
    assert all(one["values"].keys() == {"valid_loss"} for one in data)
    assert (await stocked.ask("/jobs/ftjob-run/points?metrics=no")).json["data"] == []


async def test_downsampled_points_are_fewer_and_none_is_made_up(stocked):
    every = (await stocked.ask("/jobs/ftjob-run/points")).json["data"]
    path = "/jobs/ftjob-run/points?downsample=6&metrics=train_loss"
    data = (await stocked.ask(path)).json["data"]
    assert len(data) == 6
    assert (data[0]["step"], data[-1]["step"]) == (1, 30)
    known = {(one["n"], one["values"]["train_loss"]) for one in every}
    assert {(one["n"], one["values"]["train_loss"]) for one in data} <= known


async def test_downsampling_reads_what_a_file_filled_in_at_its_step(operator):
    await operator.filling.job("j", points={5: {"loss": 5.0}, 9: {"loss": 9.0}})
    await operator.filling.look("j", (MetricPoint(step=1, values={"loss": 1.0}),))
    data = (await operator.ask("/jobs/j/points?downsample=4")).json["data"]
    assert [one["step"] for one in data] == [1, 5, 9]


async def test_checkpoints_are_the_providers_objects(stocked):
    data = (await stocked.ask("/jobs/ftjob-run/checkpoints")).json["data"]
    assert [one["step_number"] for one in data] == [10, 20]
    assert data[0]["object"] == "fine_tuning.job.checkpoint"
    assert data[0]["fine_tuning_job_id"] == "ftjob-run"
    assert data[0]["metrics"] == {"full_valid_loss": 1.5}


async def test_the_best_is_said_with_its_reason(stocked):
    best = (await stocked.ask("/jobs/ftjob-done/best")).json
    assert best["model"] == "ft:run:10"
    assert best["checkpoint"] == CHECKPOINT
    assert (best["decision"], best["metric"], best["value"]) == (
        "final",
        "full_valid_loss",
        1.5,
    )
    assert best["reason"] == "it is the lowest"
    assert (await stocked.ask("/jobs/ftjob-run/best")).json["decision"] == "provisional"


async def test_no_best_is_an_answer_with_a_reason_too(stocked):
    reply = await stocked.ask("/jobs/ftjob-none/best")
    assert reply.status == 200
    none = reply.json
    assert (none["checkpoint"], none["model"], none["decision"]) == (None, None, "none")
    assert (none["reason"], none["detail"]) == ("job_failed", "the job failed")
    early = (await stocked.ask("/jobs/twin/best?source=other")).json
    assert (early["checkpoint"], early["reason"]) == (None, "not_chosen_yet")


async def test_ids_with_odd_letters_are_found(operator):
    await operator.filling.job("a/b c?d#ü")
    reply = await operator.ask("/jobs/a%2Fb%20c%3Fd%23%C3%BC")
    assert reply.json["id"] == "a/b c?d#ü"


async def test_sources_and_plugins_are_listed(stocked):
    sources = (await stocked.ask("/sources")).json["data"]
    assert [(one["name"], one["state"]) for one in sources] == [
        ("research", "up"),
        ("other", "up"),
    ]
    plugins = (await stocked.ask("/plugins")).json
    assert plugins["data"] == []
    assert "webhook" in plugins["installed"]

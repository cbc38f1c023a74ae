"""`deliveries` and `redeliver` beside a dispatcher that runs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from support.dispatching import (
    DEADLINE,
    MESSAGE,
    Desk,
    Recorder,
    gate,
    message_of,
    until,
)
from support.operator_api import serving_api
from support.program import Ended, Program
from support.serving_desk import beside, run, serving_desk
from tunewatch.clock import SystemClock
from tunewatch.dispatch import Gate
from tunewatch.plugin import Receipt, Reject

TOKEN = "token-canary-4711"


class Scene(NamedTuple):
    desk: Desk
    program: Program
    gate: Gate
    sink: Recorder
    bad: set[str]

    async def cli(self, *arguments: Any) -> Ended:
        return await run(self.program, *arguments)

    async def data(self, *arguments: Any) -> list[dict[str, Any]]:
        """Return the data of a listing command."""
        done = await self.cli(*arguments, "-o", "json")
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(done.out)["data"]
        return found


@pytest.fixture
async def scene(store_url, tmp_path) -> AsyncIterator[Scene]:
    """Six messages of three jobs went out; two of them were rejected."""
    bad = {"b1", "c1"}

    def judge(delivery):
        if message_of(delivery) in bad:
            raise Reject("no, thanks", receipt=Receipt(422, "not that"))
        return Receipt(200, "\x1b[31mtaken")

    sink = Recorder(judge)
    ops = gate(sink, clock=SystemClock())
    async with serving_desk(store_url, ops) as d:
        for job, texts in {"a": "a1 a2", "b": "b1 b2", "c": "c1 c2"}.items():
            await d.tell(f"ftjob-{job}", *texts.split())
        await logged(d, 6)
        yield Scene(d, beside(tmp_path, store_url), ops, sink, bad)


async def logged(d: Desk, count: int) -> None:
    """Wait until so many attempts are in the log."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if len(await d.store.reads.deliveries.attempts()) >= count:
                return
            await asyncio.sleep(0.01)


async def test_every_attempt_is_listed_with_what_came_of_it(scene):
    done = await scene.cli("deliveries")
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    assert head.split()[:5] == ["ID", "AT", "PLUGIN", "JOB", "EVENT"]
    assert len(lines) == 6
    rejected = [line for line in lines if " rejected " in line]
    assert len(rejected) == 2
    assert all(line.endswith("no, thanks") and " 422 " in line for line in rejected)
    assert sum(line.endswith("[31mtaken") for line in lines) == 4
    assert "\x1b" not in done.out
    ids = [int(line.split()[0]) for line in lines]
    assert ids == sorted(ids, reverse=True)


async def test_what_is_listed_can_be_narrowed_down(scene):
    every = await scene.data("deliveries")
    failed = await scene.data("deliveries", "--outcome", "failed")
    assert {one["outcome"] for one in failed} == {"rejected"}
    assert {one["job_id"] for one in failed} == {"ftjob-b", "ftjob-c"}
    of_a = await scene.data("deliveries", "--job", "ftjob-a", "--plugin", "ops")
    assert [one["answer"] for one in of_a] == ["[31mtaken"] * 2
    [one] = await scene.data("deliveries", "--event", failed[0]["event_id"])
    assert one == failed[0]
    assert await scene.data("deliveries", "--since", "1h") == every
    assert await scene.data("deliveries", "--until", "2020-01-01") == []
    page = await scene.cli("deliveries", "--limit", "2")
    last = every[1]["id"]
    assert f"--after {last}" in page.err
    assert await scene.data("deliveries", "--after", last) == every[2:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deliveries", "--plugin", "opps"], "did you mean ops?"),
        (["deliveries", "--job", "ftjob-x"], "there is no job ftjob-x"),
        (["deliveries", "--since", "yesterday"], "such as 2h or 30d"),
        (["deliveries", "--dead", "--outcome", "failed"], "does not go with --dead"),
        (["redeliver"], "nothing is chosen"),
        (["redeliver", "--plugin", "opps", "--since", "1h"], "did you mean ops?"),
        (["redeliver", "--since", "1h"], "say which with --plugin"),
        (["redeliver", "--plugin", "ops", "--since", "1h", "--dead", "x"], "together"),
        (["redeliver", "x", "--since", "1h"], "--since does not go with an event"),
        (["redeliver", "--dead", "--first", "3"], "--first does not go with --dead"),
        (["redeliver", "--dead", "--type", "@nobody"], "no group called '@nobody'"),
        (["redeliver", "evt_nobody"], "event evt_nobody is not kept"),
        (["redeliver", "--letter", "99"], "there is no dead letter 99"),
        (["redeliver", "--dead", "--job", "ftjob-x"], "there is no job ftjob-x"),
        (["redeliver", "--dead", "--source", "x"], "there is no source x"),
        (["redeliver", "--cancel", "7"], "there is no redelivery 7"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_hint(tmp_path, arguments, said):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with serving_desk(url, gate(Recorder(), clock=SystemClock())) as d:
        await d.tell("ftjob-a", "one")
        done = await run(beside(tmp_path, url), *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


async def test_a_dry_run_says_exactly_what_goes_out_then(scene):
    planned = await scene.cli("redeliver", "--dead", "--dry-run")
    assert planned.code == 0
    assert "would redeliver 2 events of 2 jobs to ops" in planned.err
    shown = set(re.findall(r"evt_\w+", planned.out))
    assert await scene.data("redeliver", "--list") == []
    told = json.loads(
        (await scene.cli("redeliver", "--dead", "--dry-run", "-o", "json")).out
    )
    assert (told["events"], told["jobs"], told["refused"]) == (2, 2, [])
    assert {one["event_id"] for one in told["first"]} == shown
    scene.bad.clear()
    before = len(scene.sink.got)
    done = await scene.cli("redeliver", "--dead")
    assert done.code == 0, done.err
    assert re.search(r"^accepted +2$", done.out, re.MULTILINE)
    assert {one.event.id for one in scene.sink.got[before:]} == shown
    assert await scene.data("deliveries", "--dead") == []
    closed = await scene.data("deliveries", "--dead", "--closed")
    assert {one["event_id"] for one in closed} == shown
    again = await scene.cli("redeliver", "--dead")
    assert (again.code, again.out) == (0, "")
    assert "nothing to redeliver" in again.err


async def test_a_dead_letter_goes_out_again_by_its_id_or_its_event(scene):
    letters = await scene.data("deliveries", "--dead", "--plugin", "ops")
    assert [one["reason"] for one in letters] == ["no, thanks"] * 2
    scene.bad.clear()
    one, other = letters
    assert (await scene.cli("redeliver", "--letter", one["id"])).code == 0
    assert (await scene.cli("redeliver", other["event_id"])).code == 0
    assert await scene.data("deliveries", "--dead") == []
    closed = await scene.cli("redeliver", "--letter", one["id"])
    assert closed.code == 2
    assert "was redelivered already" in closed.err


async def test_what_fails_again_is_told_with_where_to_look(scene):
    done = await scene.cli("redeliver", "--dead", "-o", "json")
    assert done.code == 6
    told = json.loads(done.out)
    assert (told["events"], told["accepted"], told["left"]) == (2, 0, 0)
    hint = f"deliveries --redelivery {told['id']} --outcome failed"
    assert hint in done.err
    failed = await scene.data(*hint.split())
    assert {one["status"] for one in failed} == {422}
    assert len(await scene.data("deliveries", "--dead")) == 2


async def test_a_range_goes_to_one_plugin_as_it_is_subscribed(scene):
    done = await scene.cli(
        *("redeliver", "--plugin", "ops", "--since", "1h", "--job", "ftjob-a")
    )
    assert done.code == 0, done.err
    assert scene.sink.texts[-2:] == ["a1", "a2"]
    done = await scene.cli(
        *("redeliver", "--plugin", "ops", "--since", "1h", "--type", "@terminal")
    )
    assert "nothing to redeliver" in done.err
    [everything] = {
        (one["first"], one["last"]) for one in [await bounds_of(scene, MESSAGE)]
    }
    first, last = everything
    done = await scene.cli(
        *("redeliver", "--plugin", "ops", "--first", first, "--last", last),
        *("--dry-run", "-o", "json"),
    )
    assert json.loads(done.out)["events"] == 6


async def bounds_of(scene: Scene, kind: str) -> dict[str, int]:
    sql = "SELECT min(position), max(position) FROM event WHERE type = :kind"
    [[first, last]] = await scene.desk.rows(sql, kind=kind)
    return {"first": first, "last": last}


async def test_an_event_for_a_plugin_that_does_not_listen_there_is_refused(scene):
    [one, *_] = await scene.data("deliveries")
    done = await scene.cli("redeliver", one["event_id"], "--plugin", "spare")
    assert done.code == 2
    assert "it does not listen to source research" in done.err
    accepted = await scene.data("deliveries", "--outcome", "accepted")
    done = await scene.cli("redeliver", accepted[0]["event_id"])
    assert done.code == 2
    assert "say which plugin" in done.err


async def test_nobody_needs_to_wait_and_what_was_asked_for_can_be_taken_back(scene):
    scene.gate.pause("by a test")
    range_ = ("redeliver", "--plugin", "ops", "--since", "1h", "--no-wait")
    done = await scene.cli(*range_)
    assert (done.code, done.out) == (0, "")
    assert "redelivery 1: asked for 6 events of 3 jobs to ops" in done.err
    [listed] = await scene.data("redeliver", "--list")
    assert (listed["left"], listed["events"], listed["accepted"]) == (3, 6, 0)
    assert re.fullmatch(r"cli:\w+@\S+", listed["by"])
    again = await scene.cli(*range_)
    assert "all of it was asked for before" in again.err
    assert (await scene.cli("redeliver", "--cancel", "1")).code == 0
    table = (await scene.cli("redeliver", "--list")).out
    assert "cancelled by" in table
    assert "plugin ops, since 20" in table
    got = len(scene.sink.got)
    scene.gate.resume()
    await scene.desk.tell("ftjob-a", "fresh")
    await until(lambda: len(scene.sink.got) > got)
    assert scene.sink.texts[got:] == ["fresh"]


async def test_without_a_daemon_it_is_said_that_it_waits_for_one(store_url, tmp_path):
    ops = gate(Recorder(), clock=SystemClock())
    async with serving_desk(store_url, ops) as d:
        await d.tell("ftjob-a", "one")
        await until(lambda: ops.target.got)
        await d.store.leases.release(d.fence)
    program = beside(tmp_path, store_url)
    done = await run(program, "redeliver", "--plugin", "ops", "--since", "1h")
    assert done.code == 6
    assert "no daemon runs on this store" in done.err
    sink = Recorder()
    async with serving_desk(store_url, gate(sink, clock=SystemClock())):
        await until(lambda: sink.texts == ["one"])


async def test_ten_thousand_letters_are_asked_for_at_once(store_url, tmp_path):
    """Within a minute, by the command line, beside a daemon that goes on working."""
    sink = Recorder()
    ops = gate(sink, clock=SystemClock())
    async with serving_desk(store_url, ops) as d:
        done = await d.tell("ftjob-a", "one")
        await until(lambda: sink.got)
        ops.pause("so that all of them wait")
        position = max(ref.position for ref in done.events if ref.type == MESSAGE)
        await d.store.carrier.write(lambda c: _bury(c, position, 10_000))
        program = beside(tmp_path, store_url)
        loop = asyncio.get_running_loop()
        began = loop.time()
        done = await run(program, "redeliver", "--dead", "--no-wait")
        assert loop.time() - began < 60
        assert done.code == 0, done.err
        assert "10,000 events" in done.err
        again = await run(program, "redeliver", "--dead", "--no-wait")
        assert "nothing to redeliver" in again.err
        assert await d.one("SELECT count(*) FROM stretch") == 10_000
        await d.tell("ftjob-b", "meanwhile")


async def test_a_daemon_elsewhere_redelivers_when_it_is_asked_with_its_token(tmp_path):
    bad = {"a1"}

    def judge(delivery):
        if message_of(delivery) in bad:
            raise Reject("no, thanks")

    sink = Recorder(judge)
    ops = gate(sink, clock=SystemClock())
    url = f"sqlite:///{tmp_path / 'state.db'}"
    program = Program(tmp_path)
    async with (
        serving_desk(url, ops) as d,
        serving_api(d.store, token=lambda: TOKEN, plugins=("ops",)) as operator,
    ):
        program.environ["TUNEWATCH_URL"] = operator.url
        await d.tell("ftjob-a", "a1", "a2")
        await logged(d, 2)
        [letter] = await d.store.reads.deliveries.dead_letters()
        refused = await run(program, "redeliver", "--dead")
        assert (refused.code, refused.out) == (2, "")
        assert "--token-file" in refused.err
        program.environ["TUNEWATCH_TOKEN"] = TOKEN
        planned = await run(program, "redeliver", "--dead", "--dry-run")
        assert "would redeliver 1 event of 1 job to ops" in planned.err
        assert letter.event_id in planned.out
        unknown = await run(program, "redeliver", "--dead", "--plugin", "opps")
        assert (unknown.code, unknown.out) == (2, "")
        assert "did you mean ops?" in unknown.err
        for arguments, said in (
            (("evt_nobody",), "event evt_nobody is not kept"),
            (("--cancel", "7"), "there is no redelivery 7"),
            (("x" * 70_000,), "name less"),
        ):
            wrong = await run(program, "redeliver", *arguments)
            assert wrong.code == 2
            assert said in wrong.err
        bad.clear()
        done = await run(program, "redeliver", "--dead")
        assert done.code == 0, done.err
        assert re.search(r"^accepted +1$", done.out, re.MULTILINE)
        assert sink.texts == ["a2", "a1"]
        ops.pause("by a test")
        range_ = ("--plugin", "ops", "--since", "1h", "--no-wait", "-o", "json")
        done = await run(program, "redeliver", *range_)
        made = json.loads(done.out)
        assert (made["left"], made["by"]) == (1, "api:127.0.0.1")
        taken_back = await run(program, "redeliver", "--cancel", made["id"])
        assert "what has not gone out yet is taken back" in taken_back.err
        again = await run(program, "redeliver", "--cancel", made["id"])
        assert "was over already" in again.err
        assert "cancelled by" in (await run(program, "redeliver", "--list")).out
        told = await run(program, "audit", "--limit", "2", "-o", "json")
        assert [one["what"] for one in json.loads(told.out)["data"]] == [
            "cancel_redelivery",
            "redeliver",
        ]
        assert "there are more: --after" in told.err


def _bury(connection, position, count):
    """Leave so many dead letters of one event each."""
    from sqlalchemy import insert, select

    from tunewatch.store.schema import dead_letter, event

    one = connection.execute(select(event).where(event.c.position == position)).one()
    body = one._asdict()
    rows = [
        body | {"position": 10**6 + n, "id": f"evt_{n}", "sequence": n}
        for n in range(count)
    ]
    connection.execute(insert(event), rows)
    letter = {"plugin": "ops", "source_id": one.source_id, "job_key": one.job_key}
    letter |= {"tries": 5, "reason": "no", "at": 1.0}
    letters = [
        letter
        | {"first_position": row["position"], "last_position": row["position"]}
        | {"first_sequence": row["sequence"], "last_sequence": row["sequence"]}
        | {"event_id": row["id"]}
        for row in rows
    ]
    connection.execute(insert(dead_letter), letters)

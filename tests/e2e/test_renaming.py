"""A source that gets another name goes on where it was."""

from __future__ import annotations

import base64
import json

from support.program import Program
from support.running import QUICK, configure, eventually, running
from support.simulated_org import simulated
from tunewatch.testing import Receiver

UPDATED = "tunewatch.job.updated"
SECRET = "whsec_" + base64.b64encode(b"r" * 32).decode()


def tables(name: str, url: str, hook: str, more: str = "") -> str:
    return (
        f'[sources.{name}]\nbase_url = "{url}"\napi_key = "sk-a"\n{more}{QUICK}'
        f'[plugins.ops]\nkind = "webhook"\nurl = "{hook}"\nsecret = "{SECRET}"\n'
        'allow_hosts = ["127.0.0.1"]\nevents = ["*"]\n'
    )


async def test_a_renamed_source_goes_on_where_it_was(tmp_path):
    program, receiver = Program(tmp_path), Receiver(secrets=[SECRET])
    async with simulated("sk-a") as (api, url), receiver.serve() as hook:
        job = api.add_job(project="project-0", steps=10, outcome="paused", at=0.5).id
        configure(program, tables("old", url, hook))
        async with running(program) as daemon:
            await receiver.wait_until(
                lambda got: "fine_tuning.job.paused" in types(got), within=30
            )
            assert await daemon.stop() == 0

        configure(program, tables("new", url, hook, 'renamed_from = "old"\n'))
        for start in (1, 2):  # the setting may stay in the file
            async with running(program) as daemon:
                renamed = daemon.log("source.renamed")
                assert len(renamed) == (1 if start == 1 else 0)
                assert not daemon.log("orphan.delivering")
                _, report = await daemon.ready()
                assert list(report["sources"]) == ["new"]
                api.update_job(job, {"suffix": f"renamed-{start}"})
                await receiver.wait_until(
                    lambda got, n=start: types(got).count(UPDATED) == n,
                    within=30,
                )
                if start == 2:
                    assert "note " not in (await daemon.cli("check")).out
                assert await daemon.stop() == 0
    told = [one.json() for one in receiver.accepted]
    # What was told before keeps the name it was told under, also if it goes out later.
    labels = [one["data"]["source"] for one in told]
    assert labels == sorted(labels, reverse=True)
    assert set(labels) == {"old", "new"}
    assert types(receiver.accepted).count("tunewatch.job.discovered") == 1
    sequences = [one["data"]["sequence"] for one in told]
    assert sequences == sorted(sequences)


async def test_a_former_name_that_nobody_knows_is_said_and_harms_nobody(tmp_path):
    program = Program(tmp_path)
    async with simulated("sk-a") as (_, url):
        source = f'[sources.old]\nbase_url = "{url}"\napi_key = "sk-a"\n{QUICK}'
        configure(program, source)
        async with running(program) as daemon:
            assert await daemon.stop() == 0
        more = source.replace("old", "new") + 'renamed_from = "odl"\n'
        configure(program, more)
        async with running(program) as daemon:
            said = await daemon.logged("source.nothing_to_rename")
            assert said["reason"] == "did you mean old?"

            async def is_up() -> bool:
                return (await daemon.part("sources", "new"))["state"] == "up"

            await eventually(is_up, "the source lives")
            assert await daemon.stop() == 0


def types(got) -> list[str]:
    return [json.loads(one.body)["type"] for one in got]

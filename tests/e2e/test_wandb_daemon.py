"""The real daemon with W&B: killed in the middle, and every run is whole in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from support.daemon_process import daemon_process
from support.wandb_server import KEY, WandbServer
from tunewatch.testing import Script, SimulatedApi

QUICK = {"seconds_per_step": 15.0, "validating": 30.0, "queueing": 15.0}
JOBS = {
    "good": Script(suffix="good", steps=40, **QUICK),
    "broken": Script(suffix="broken", steps=40, outcome="failed", at=0.3, **QUICK),
    "graded": Script(suffix="graded", method="reinforcement", steps=20, **QUICK),
}
LONGEST = 60.0  #: s until all is told


async def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST
    while not is_so():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


def told(server: WandbServer) -> int:
    """Return how many points W&B has."""
    return sum(len(run.history) for run in server.runs.values())


def ended(server: WandbServer) -> bool:
    """Whether every run is closed as its job ended."""
    runs = server.runs.values()
    answers = {run.summary.get("best/decision") for run in runs}
    is_told = len(runs) == len(JOBS) and answers <= {"final", "none"}
    return is_told and all(run.exits for run in runs)


async def test_a_daemon_that_is_killed_while_jobs_train_leaves_every_run_whole(
    tmp_path: Path,
):
    api = SimulatedApi(time_scale=120.0)
    made = {name: api.add_job(script).id for name, script in JOBS.items()}
    server = WandbServer()
    (tmp_path / "conf.d").mkdir()
    with server.serve() as url:
        (tmp_path / "conf.d" / "wandb.toml").write_text(
            f'[plugins.wandb]\nurl = "{url}"\napi_key = "{KEY}"\nentity = "acme"\n'
        )
        async with (
            api.serve() as api_url,
            daemon_process(
                tmp_path,
                state=f"sqlite:///{tmp_path / 'state.db'}",
                api_url=api_url,
                hooks={},
                is_cold=True,
            ) as daemon,
        ):
            await daemon.start()
            for _ in range(2):
                before = told(server)
                await until(lambda before=before: told(server) > before, "a point")
                assert not ended(server), "it is killed while jobs train"
                await daemon.kill()
                await daemon.start()
            await until(lambda: ended(server), "every run is closed")
            code, _ = await daemon.stop()
            assert code == 0, daemon.said()
            assert "plugin.defect" not in daemon.log.read_text()
    for run in server.runs.values():
        assert run.points == list(range(1, len(run.points) + 1)), run.display
    good, broken, graded = (server.runs[made[name]] for name in JOBS)
    assert {row["train_step"] for row in good.rows} == set(range(1, 41))
    assert good.summary["best/decision"] == "final"
    assert good.exits[-1] == 0
    assert broken.exits[-1] == 1
    assert broken.summary["status"] == "failed"
    assert broken.summary["error/message"]
    assert graded.exits[-1] == 0
    assert any("/" in key for row in graded.rows for key in row)

"""kill -9 of the broker, again and again, under the whole daemon."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import pytest

from support.acknowledgements import FINISHED, watched
from support.daemon_process import daemon_process
from support.judge import SqliteBooks
from support.mosquitto_server import mosquitto
from support.moving_jobs import moving_jobs
from support.watching import until

A_FEW = 20
"""Events acknowledged between two kills."""
A_PROBE = 30.0
"""s until a broker that is back is found to be: five of waiting, and a busy machine."""
_UNSETTLED = "SELECT count(*) FROM job WHERE NOT settled"


async def survives(kills, tmp_path, chance, track_record):
    began, store = time.monotonic(), tmp_path / "state.db"
    books = SqliteBooks(store)

    def finished() -> set[str]:
        return {row[0] for row in books.rows(FINISHED.replace(":plugin", "'mqtt'"))}

    (tmp_path / "conf.d").mkdir()
    with mosquitto(tmp_path / "broker") as broker:
        async with (
            watched(broker.port) as way,
            moving_jobs(chance, at_once=4) as moving,
            daemon_process(
                tmp_path, state=f"sqlite:///{store}", api_url=moving.url, hooks={}
            ) as daemon,
        ):
            (tmp_path / "conf.d" / "mqtt.toml").write_text(
                f'[plugins.mqtt]\nurl = "mqtt://127.0.0.1:{way.port}"\nevents = ["*"]\n'
            )
            await daemon.start()
            for _ in range(kills):
                goal = len(way.acknowledged) + A_FEW
                await until(
                    lambda goal=goal: len(way.acknowledged) >= goal,
                    within=A_PROBE,
                    what="the broker takes what waits",
                )
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                await asyncio.to_thread(broker.kill)
                assert finished() <= way.acknowledged
                await asyncio.to_thread(broker.start)
            moving.is_closing = True
            moving.speed *= 4
            await until(lambda: not moving.unfinished(), within=60, what="jobs end")
            await until(
                lambda: books.rows(_UNSETTLED) == [("0",)],
                within=A_PROBE,
                every=0.3,
                what="jobs are settled",
            )
            committed = {row[0] for row in books.rows("SELECT id FROM event")}
            await until(
                lambda: finished() == committed,
                within=2 * A_PROBE,
                every=0.3,
                what="everything is delivered",
            )
            code, _ = await daemon.stop()
            assert code == 0, daemon.said()
    assert way.acknowledged == committed
    assert books.rows("SELECT * FROM dead_letter") == []
    lines = daemon.log.read_text().splitlines()
    said = Counter(json.loads(line)["event"] for line in lines)
    assert 1 <= said["mqtt.broker_gone"] <= kills
    assert said["mqtt.broker_back"] == said["mqtt.broker_gone"]
    assert said["plugin.defect"] == 0
    repeated = way.published.total() - len(committed)
    track_record(
        "kill -9 of the broker",
        engine="sqlite",
        runs=kills,
        lost=f"0 of {len(committed)}",
        repeated=f"{repeated / kills:.1f} a kill",
        seconds=round(time.monotonic() - began),
    )


async def test_nothing_is_lost_by_3_kills_of_the_broker(tmp_path, chance, track_record):
    await survives(3, tmp_path, chance, track_record)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_nothing_is_lost_by_50_kills_of_the_broker(
    tmp_path, chance, track_record
):
    await survives(50, tmp_path, chance, track_record)

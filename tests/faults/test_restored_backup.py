"""A backup in the place of the store: what was known keeps its name, in a minute."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from support.backlog import BACKLOG, WELL, add_events, waiting
from support.damaged_store import zero
from support.fault_scene import fault_scene
from support.judge import SqliteBooks, told_twice
from support.watching import until
from tunewatch.store.backup import back_up

A_MINUTE = 60.0


def restore(path, copy):
    """Put a backup in the place of a store, as a person would."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(copy.read_bytes())


def change_of(event):
    """Return what happened, by what the provider says, without how it was told."""
    kind, data = event["type"], event["data"]
    if kind == "fine_tuning.event.message":
        return kind, data["id"], data["event_id"]
    if kind.startswith("fine_tuning.checkpoint."):
        return kind, data["id"], data["checkpoint"]["id"]
    if kind == "fine_tuning.event.metrics":
        steps = tuple((point["n"], point["step"]) for point in data["points"])
        return kind, data["id"], steps
    if kind == "tunewatch.checkpoint.selected":
        chosen = data["checkpoint"]["id"], data["decision"], data["reason"]
        return kind, data["id"], chosen
    if kind == "tunewatch.job.updated":
        return kind, data["id"], msgspec.json.encode(data["changes"])
    return kind, data["id"], data.get("reason")


def keeps_its_name(kind):
    return (
        kind == "fine_tuning.event.message"
        or kind.startswith(("fine_tuning.checkpoint.", "fine_tuning.job."))
        or kind == "tunewatch.job.discovered"
    )


async def test_a_restored_backup_renames_nothing_and_no_sequence_goes_back(
    tmp_path, chance, track_record
):
    began = time.monotonic()
    path, copy = tmp_path / "state.db", tmp_path / "backup.db"
    async with fault_scene(
        tmp_path, f"sqlite:///{path}", None, chance, sinks=3
    ) as scene:
        receiver = scene.receiver
        receiver.bodies = []
        await scene.start()
        await scene.at_work()
        await asyncio.sleep(2.0)
        await asyncio.to_thread(back_up, path, copy)
        at_backup = receiver.arrivals
        await until(
            lambda: receiver.arrivals > at_backup + 150, what="time goes by", within=40
        )
        await scene.kill()
        restore(path, copy)
        kept = {row[0] for row in SqliteBooks(path).rows("SELECT id FROM event")}
        newest = dict(receiver.newest)
        await receiver.silence()
        heard = len(receiver.bodies)
        receiver.keep_only(kept)
        scene.judge.audited.clear()
        await scene.start()
        await scene.play_out()
        books = await scene.close()
        assert scene.judge.false_done == []
        assert scene.judge.missing() == []
        assert receiver.inversions == []
        assert receiver.altered == []

    before = [msgspec.json.decode(body) for _, _, body in receiver.bodies[:heard]]
    after = [msgspec.json.decode(body) for _, _, body in receiver.bodies[heard:]]
    forgotten = {event["id"] for event in before} - kept
    told_again = [event for event in after if event["id"] in forgotten]
    assert told_again, "the backup was as good as new: nothing was tried"

    names = defaultdict(set)
    for event in before + after:
        if keeps_its_name(event["type"]):
            names[change_of(event)].add(event["id"])
    renamed = {change: ids for change, ids in names.items() if len(ids) > 1}
    assert renamed == {}

    changes = defaultdict(set)
    for event in before + after:
        changes[event["id"]].add(change_of(event))
    shared = {name: told for name, told in changes.items() if len(told) > 1}
    assert shared == {}

    back = [
        (plugin, event["id"])
        for _, plugin, body in receiver.bodies[heard:]
        if (event := msgspec.json.decode(body))["id"] not in kept
        and event["data"]["sequence"] <= newest.get((plugin, event["data"]["id"]), 0)
    ]
    assert back == []
    assert told_twice(books.events) == []
    track_record(
        "backup restored in the place of the store",
        engine="sqlite",
        runs=1,
        lost=0,
        repeated=f"{len(told_again)}, each under its old id",
        out_of_order=len(back),
        seconds=round(time.monotonic() - began),
    )


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_a_damaged_store_of_a_million_events_is_restored_within_a_minute(
    tmp_path, chance, track_record
):
    began = time.monotonic()
    path, copy = tmp_path / "state.db", tmp_path / "backup.db"
    async with fault_scene(
        tmp_path, f"sqlite:///{path}", None, chance, sinks=2
    ) as scene:
        receiver, daemon = scene.receiver, scene.daemon
        receiver.answer = lambda name: 200 if name == WELL else 503
        await scene.start()
        await until(lambda: receiver.acknowledged_of(WELL) > 100, what="it is at work")
        assert (await daemon.stop())[0] == 0
        await asyncio.to_thread(add_events, path, BACKLOG)
        await scene.start()
        await scene.at_work()
        await asyncio.to_thread(back_up, path, copy)
        await daemon.kill()
        zero(path, 4)
        found = time.monotonic()
        process = await daemon.spawn()
        async with asyncio.timeout(A_MINUTE):
            assert await process.wait() == 3, daemon.said()
        found = time.monotonic() - found
        assert "put a backup in its place" in daemon.said()

        told = time.monotonic()
        await asyncio.to_thread(restore, path, copy)
        await scene.start()
        took = time.monotonic() - told
        await scene.at_work()
        assert waiting(path) > BACKLOG, "it was an empty one"
        size = path.stat().st_size
        assert (await daemon.stop())[0] == 0
    track_record(
        "a damaged store of a million events",
        engine="sqlite",
        runs=1,
        recovered_in=f"refused after {found:.1f} s; {took:.1f} s from its backup of"
        f" {size / 2**20:.0f} MiB to being ready",
        seconds=round(time.monotonic() - began),
    )
    assert took <= A_MINUTE

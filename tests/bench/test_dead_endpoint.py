"""What a dead endpoint with a long queue costs: neither memory nor time per cycle."""

from __future__ import annotations

import asyncio
import time
import tracemalloc

import pytest
from sqlalchemy import text

from support.dispatching import Recorder, desk, gate, quiet, until
from tunewatch.clock import SystemClock
from tunewatch.plugin import Retry

pytestmark = pytest.mark.bench

EVENTS = 1_000_000
_FILL = text(
    "INSERT INTO event (position, id, source_id, job_key, type, sequence, observed_at,"
    " derived, body) VALUES (1000 + :n, 'evt_' || :n, 1, 1 + :n % 100,"
    " 'fine_tuning.event.message', :n, :at, 0, :body)"
)


def _refuse(_delivery) -> None:
    raise Retry("connection refused")


@pytest.mark.timeout(300)
async def test_a_dead_endpoint_with_a_million_events_costs_the_healthy_one_nothing(
    tmp_path,
):
    async with desk(f"sqlite:///{tmp_path / 'state.db'}", SystemClock()) as d:
        dead, healthy = Recorder(_refuse), Recorder()
        async with d.dispatching(gate(dead, "dead", clock=d.clock)) as dispatcher:
            await d.tell_all({f"ftjob-{n}": ["first"] for n in range(100)})
            await quiet(dispatcher)
        body = await d.one("SELECT body FROM event WHERE position = 5")

        def fill(connection, begin):
            connection.execute(
                _FILL,
                [
                    {"n": n, "at": time.time(), "body": body}
                    for n in range(begin, begin + 50_000)
                ],
            )
            connection.execute(
                text("UPDATE position SET value = :v"), {"v": 1000 + begin + 50_000}
            )

        for begin in range(0, EVENTS, 50_000):
            await d.store.carrier.write(lambda c, begin=begin: fill(c, begin))
        tracemalloc.start()
        began = time.perf_counter()
        gates = [
            gate(dead, "dead", clock=d.clock),
            gate(healthy, "healthy", clock=d.clock),
        ]
        async with d.dispatching(*gates) as dispatcher:
            loaded = time.perf_counter() - began
            await until(lambda: gates[0].state().state == "probing")
            waits = []
            for n in range(100):
                sent = time.perf_counter()
                await d.tell(f"ftjob-{n}", "fresh")
                enough = n + 1
                await until(lambda enough=enough: len(healthy.got) >= enough)
                waits.append(time.perf_counter() - sent)
                await asyncio.sleep(0.005)
            memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        waits.sort()
        print(  # noqa: T201 - figures
            f"\nstart {loaded:.2f} s, peak {memory / 2**20:.1f} MiB, commit to"
            f" delivery p50 {waits[50] * 1e3:.1f} ms, p99 {waits[99] * 1e3:.1f} ms"
        )
        assert memory < 20 * 2**20
        assert waits[50] < 0.05

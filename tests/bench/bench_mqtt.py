"""MQTT through the journal, to a real mosquitto, beside bare aiomqtt in the same run.

Bare aiomqtt publishes the same bytes at the same quality, many at once, with no journal
and nothing looked after. Run: `python -m bench mqtt` with `tests` on the path.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from bench.bench_deliveries import IN_FLIGHT, through_journal
from bench.engines import ENGINES, FreshUrl
from bench.loop import run
from bench.report import Figure, at_least
from support.dispatching import desk, gate
from support.mosquitto_server import Mosquitto, mosquitto
from support.mqtt_opening import Lent, opened
from tunewatch.clock import SystemClock
from tunewatch.dispatch import Gate

ROUNDS = 3
LEAST_RATE, LEAST_RATIO = 3000, 0.5


@asynccontextmanager
async def mqtt_to(broker: Mosquitto, home: Path) -> AsyncIterator[Gate]:
    """Open the real plugin; yield the gate that the dispatcher sends through."""
    async with opened({"url": broker.url}, Lent(home)) as plugin:
        yield gate(plugin, "bus", clock=SystemClock(), concurrency=IN_FLIGHT)


async def bare_rate(broker: Mosquitto, bodies: Sequence[bytes]) -> float:
    """Return how many a second bare aiomqtt publishes and has acknowledged."""
    logging.getLogger("mqtt").setLevel(logging.ERROR)  # it warns of each that waits
    left = iter(bodies)
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        max_inflight_messages=IN_FLIGHT,
    ) as client:

        async def publish() -> None:
            for body in left:
                await client.publish("bare/jobs/ftjob-1/events/message", body, qos=1)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(IN_FLIGHT):
                tasks.create_task(publish(), name=f"publish:{number}")
        return len(bodies) / (time.perf_counter() - began)


async def journal_rate(
    broker: Mosquitto, url: str, home: Path
) -> tuple[float, list[bytes]]:
    """Return events a second through the journal, and what they were."""
    async with desk(url, SystemClock()) as d, mqtt_to(broker, home) as bus:
        return await through_journal(d, bus)


def figures(fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark: turn by turn, on both engines."""
    lines = []
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        quiet = ("allow_anonymous true", "log_type error")
        many = f"max_inflight_messages {IN_FLIGHT}"
        with mosquitto(home / "broker", *quiet, many) as broker:
            for engine in ENGINES:
                rates, ratios = [], []
                for _ in range(ROUNDS):
                    asked = journal_rate(broker, fresh(engine), home / "bus")
                    rate, bodies = run(asked)
                    rates.append(rate)
                    ratios.append(rate / run(bare_rate(broker, bodies)))
                lines.append(_line(engine, rates, ratios))
    return lines


def _line(engine: str, rates: Sequence[float], ratios: Sequence[float]) -> Figure:
    """Return the line of an engine: either bar will do, whichever is lower."""
    rate, ratio = statistics.median(rates), statistics.median(ratios)
    least = min(LEAST_RATE, LEAST_RATIO * rate / ratio)
    what = f"events by MQTT through the journal, QoS 1, {engine}"
    shown = f"{ratio:.2f} of bare aiomqtt"
    return at_least(what, rate, round(least), "/s", digits=0, ratio=shown)

"""Webhooks through the journal, to a receiver in a process of its own.

How many a second, beside what bare aiohttp posts to the same receiver; how long from a
commit to the receiver's first byte; and whether one that hangs slows the others down.
Run: `python -m bench deliveries` with `tests` on the path.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from bench.engines import ENGINES, FreshUrl
from bench.lean_receiver import LeanReceiver, lean_receiver, usual_receiver
from bench.loop import run
from bench.report import Figure, at_least, at_most
from support.dispatching import MESSAGE, Desk, Tally, desk, gate, until
from support.webhook_opening import Lent, opened
from tunewatch.clock import SystemClock
from tunewatch.dispatch import Gate
from tunewatch.store.records import EventRef

IN_FLIGHT = 128
JOBS, EACH, AT_ONCE = 200, 60, 25
POSTS = JOBS * EACH
ROUNDS = 3
A_SECOND, SECONDS = 50, 8
HEALTHY = 19
MOST_P99 = 0.025
LEAST_RATE, LEAST_RATIO = 4000, 0.45
MOST_WORSE = 1.5
ISOLATION_ROUNDS = 4


@asynccontextmanager
async def webhook_to(
    url: str, name: str, *, concurrency: int = 8, timeout: float = 15.0
) -> AsyncIterator[Gate]:
    """Open a real webhook plugin; yield the gate that the dispatcher sends through."""
    clock = SystemClock()
    table = {"url": url, "allow_hosts": ["127.0.0.1/32"]}
    async with opened(table, lent=Lent(clock=clock)) as webhook:
        yield gate(webhook, name, clock=clock, concurrency=concurrency, timeout=timeout)


# How many a second


async def bare_rate(receiver: LeanReceiver, bodies: Sequence[bytes]) -> float:
    """Return how many a second bare aiohttp posts: no journal, no signature."""
    headers = {"content-type": "application/json", "webhook-id": "evt_bare"}
    left = iter(bodies)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post() -> None:
            for body in left:
                async with session.post(
                    receiver.url("/bare"), data=body, headers=headers
                ) as response:
                    await response.read()

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(IN_FLIGHT):
                tasks.create_task(post(), name=f"post:{number}")
        return len(bodies) / (time.perf_counter() - began)


async def commit_many(d: Desk) -> None:
    """Commit so many events, in bursts of some jobs at a time."""
    for first in range(0, JOBS, AT_ONCE):
        await d.tell_all(
            {
                f"ftjob-{n}": [f"step {i} of job {n}: loss=0.31" for i in range(EACH)]
                for n in range(first, first + AT_ONCE)
            }
        )


async def through_journal(d: Desk, gate: Gate) -> tuple[float, list[bytes]]:
    """Return deliveries a second from the first commit to the last acknowledgement.

    And what was delivered. The connections are made before.
    """
    tally, bodies = Tally(), list[bytes]()
    d.store.journal.listen(
        lambda refs: bodies.extend(ref.body for ref in refs if ref.type == MESSAGE)
    )
    async with d.dispatching(gate, observer=tally) as dispatcher:
        await d.tell("ftjob-0", "the connections are warm")
        await until(lambda: tally.dwells)
        bodies.clear()
        began = time.perf_counter()
        await commit_many(d)
        await dispatcher.idle.wait()
        took = time.perf_counter() - began
    assert tally.outcomes == [("accepted", 1)] * (POSTS + 1)
    left = "SELECT count(*) FROM event e, mark m WHERE e.position > m.position"
    assert await d.one(left) == 0
    return POSTS / took, bodies


async def journal_rate(receiver: LeanReceiver, url: str) -> tuple[float, list[bytes]]:
    """Return webhooks a second through the journal, all of which arrived."""
    async with (
        desk(url, SystemClock()) as d,
        webhook_to(receiver.url(), "ops", concurrency=IN_FLIGHT) as ops,
    ):
        rate, bodies = await through_journal(d, ops)
    told = {name for path, name in receiver.took() if path == "/hook"}
    assert len(told) == POSTS + 1, "not everything arrived"
    return rate, bodies


def throughput(receiver: LeanReceiver, fresh: FreshUrl) -> list[Figure]:
    """Compare turn by turn, on both engines, with a receiver as people write them."""
    figures = []
    for engine in ENGINES:
        rate, ratio = compared(receiver, fresh, engine, rounds=ROUNDS)
        what = f"signed webhooks through the journal, {engine}"
        figures.append(at_least(what, rate, LEAST_RATE, "/s", digits=0))
        what = f"the same, of what bare aiohttp posts, {engine}"
        figures.append(at_least(what, ratio, LEAST_RATIO, "", digits=2))
    return figures


def lean_throughput(receiver: LeanReceiver, fresh: FreshUrl) -> list[Figure]:
    """Compare with a receiver that costs nothing: all the sender's own cost shows."""
    figures = []
    for engine in ENGINES:
        rate, ratio = compared(receiver, fresh, engine, rounds=1)
        what = f"the same to a receiver that costs next to nothing, {engine}"
        figures.append(Figure(what, f"{rate:,.0f} /s", ratio=f"{ratio:.2f} of bare"))
    return figures


def compared(
    receiver: LeanReceiver, fresh: FreshUrl, engine: str, *, rounds: int
) -> tuple[float, float]:
    """Return deliveries a second, and their part of what bare aiohttp posts."""
    rates, ratios = [], []
    for _ in range(rounds):
        rate, bodies = run(journal_rate(receiver, fresh(engine)))
        rates.append(rate)
        ratios.append(rate / run(bare_rate(receiver, bodies)))
    return statistics.median(rates), statistics.median(ratios)


# How long

Waits = list[float]  #: seconds, sorted


@dataclass(slots=True)
class Commits:
    """When the events of interest were committed, by id."""

    at: dict[str, float] = field(default_factory=dict)

    def heard(self, refs: Sequence[EventRef]) -> None:
        now = time.monotonic()
        self.at.update((ref.id, now) for ref in refs if ref.type == MESSAGE)


async def post_evenly(
    receiver: LeanReceiver, sent: dict[str, float], *, a_second: int, count: int
) -> None:
    """Post by bare aiohttp at a steady rate: what this machine can do just now."""
    async with aiohttp.ClientSession() as session:
        began = time.monotonic()
        for n in range(count):
            await asyncio.sleep(began + (n + 0.5) / a_second - time.monotonic())
            name = f"bare-{n}"
            sent[name] = time.monotonic()
            async with session.post(
                receiver.url("/bare"), data=b"x" * 600, headers={"webhook-id": name}
            ) as response:
                await response.read()


async def commit_evenly(d: Desk, *, a_second: int, count: int) -> None:
    """Commit single events at a steady rate; a late one does not delay the next."""
    began = time.monotonic()
    for n in range(count):
        await asyncio.sleep(began + n / a_second - time.monotonic())
        await d.tell(f"ftjob-{n % 20}", f"step {n}: loss=0.31")


Came = dict[tuple[str, str], float]


def waits(
    began: dict[str, float], came: Came, *, where: Callable[[str], bool]
) -> Waits:
    """Return seconds until the first byte at each path of interest, sorted."""
    return sorted(at - began[name] for (path, name), at in came.items() if where(path))


def p99(values: Waits) -> float:
    """Return the 99th percentile."""
    return values[int(len(values) * 0.99)]


async def even_waits(
    receiver: LeanReceiver, url: str, paths: Sequence[str], *, a_second: int, count: int
) -> tuple[Waits, Waits]:
    """Return the waits of every event on every path but one that hangs, and of POSTs.

    The POSTs go out between the commits, by bare aiohttp and without a journal.
    """
    commits, posted, tally = Commits(), dict[str, float](), Tally()
    answering = [path for path in paths if path != "/hang"]
    async with AsyncExitStack() as stack:
        d = await stack.enter_async_context(desk(url, SystemClock()))
        gates = [
            await stack.enter_async_context(
                webhook_to(receiver.url(path), path.strip("/"), timeout=60.0)
            )
            for path in paths
        ]
        await stack.enter_async_context(d.dispatching(*gates, grace=0, observer=tally))
        await d.tell("ftjob-0", "the connections are warm")
        await until(lambda: len(tally.dwells) == len(answering))
        receiver.took()
        d.store.journal.listen(commits.heard)
        async with asyncio.TaskGroup() as both:
            pace = {"a_second": a_second, "count": count}
            both.create_task(commit_evenly(d, **pace), name="commit")
            both.create_task(post_evenly(receiver, posted, **pace), name="post")
        await until(lambda: len(tally.dwells) == (count + 1) * len(answering))
        came = receiver.took()
    found = waits(commits.at, came, where=lambda path: path in answering)
    assert len(found) == count * len(answering), "not everything arrived"
    return found, waits(posted, came, where=lambda path: path == "/bare")


def latency(receiver: LeanReceiver, fresh: FreshUrl) -> list[Figure]:
    """Measure one webhook at fifty events a second, on both engines."""
    figures = []
    for engine in ENGINES:
        count = A_SECOND * SECONDS
        found, bare = run(
            even_waits(
                receiver, fresh(engine), ["/hook"], a_second=A_SECOND, count=count
            )
        )
        what = f"commit to first byte, p99 at {A_SECOND}/s, {engine}"
        line = at_most(what, p99(found) * 1e3, MOST_P99 * 1e3, "ms", digits=1)
        ours, theirs = (statistics.median(each) * 1e3 for each in (found, bare))
        beside = f"{p99(bare) * 1e3:.1f}, median {theirs:.1f}"
        shown = f"median {ours:.1f}; a bare POST {beside}"
        figures.append(line._replace(ratio=shown))
    return figures


# One that hangs


def isolation(receiver: LeanReceiver, fresh: FreshUrl) -> list[Figure]:
    """Compare the p99 of healthy receivers with and without a twentieth that hangs."""
    healthy = [f"/hook{n}" for n in range(HEALTHY)]
    figures = []
    for engine in ENGINES:
        alone, beside = [], []
        for _ in range(ISOLATION_ROUNDS):
            for paths, kept in (
                ([*healthy, "/hook19"], alone),
                ([*healthy, "/hang"], beside),
            ):
                measured = even_waits(
                    receiver, fresh(engine), paths, a_second=20, count=40
                )
                found, _ = run(measured)
                kept.append(p99(found))
        # The slowest event of a round decides, and others on this machine only ever
        # slow it: the least disturbed round of each tells what we do ourselves.
        without, with_it = min(alone), min(beside)
        figures.append(
            at_most(
                f"p99 of {HEALTHY} webhooks while a 20th hangs, {engine}",
                with_it / without,
                MOST_WORSE,
                "times",
                digits=2,
                ratio=f"{without * 1e3:.1f} -> {with_it * 1e3:.1f} ms",
            )
        )
    return figures


def figures(fresh: FreshUrl) -> list[Figure]:
    """Return every line of this benchmark."""
    with usual_receiver() as receiver:
        lines = throughput(receiver, fresh)
    with lean_receiver() as receiver:
        return [
            *lines,
            *lean_throughput(receiver, fresh),
            *latency(receiver, fresh),
            *isolation(receiver, fresh),
        ]

"""The request budget of one source."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tunewatch.poller.budget import Budget, Purpose


class Stopwatch:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


async def spend(budget: Budget, clock: Stopwatch, purposes: list[Purpose]):
    times = []
    for purpose in purposes:
        await budget.take(purpose)
        times.append(clock.at)
    return times


@settings(max_examples=40)
@given(
    st.integers(4, 600),
    st.lists(st.sampled_from(["look", "discovery"]), min_size=1, max_size=400),
)
async def test_no_minute_ever_holds_more_requests_than_the_budget(rate, purposes):
    clock = Stopwatch()
    times = await spend(Budget(rate, clock), clock, purposes)
    for index, time in enumerate(times):
        within = sum(1 for other in times[index:] if other < time + 60.0)
        assert within <= rate + 1e-6


async def test_a_budget_that_is_used_up_goes_on_at_nearly_its_rate():
    clock = Stopwatch()
    times = await spend(Budget(120, clock), clock, ["look"] * 240)
    assert 60 < times[-1] < 180


async def test_discovery_gets_its_tenth_while_looks_queue_up():
    clock = Stopwatch()
    budget = Budget(60, clock)
    found: list[float] = []

    async def looks() -> None:
        for _ in range(100):
            await budget.take("look")

    async def discover() -> None:
        for _ in range(5):
            await budget.take("discovery")
            found.append(clock.at)

    async with asyncio.TaskGroup() as tasks:
        for n in range(3):
            tasks.create_task(looks(), name=f"looks-{n}")
        tasks.create_task(discover(), name="discover")
    assert found[-1] < 60.0


async def test_a_hold_stops_everything_for_as_long_as_was_asked():
    clock = Stopwatch()
    budget = Budget(120, clock)
    budget.hold(30.0)
    await budget.take("discovery")
    assert clock.at >= 30.0


async def test_a_waiter_that_gives_up_lets_the_next_one_through():
    clock = Stopwatch()
    budget = Budget(120, clock)
    budget.hold(1e9)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(budget.take("look"), name="first")
        await asyncio.sleep(0)
        second = tasks.create_task(budget.take("look"), name="second")
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
    assert budget.waiting == 0

"""The contract suite finds a plugin's faults, and none in a good plugin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientError, ClientSession
from pydantic import BaseModel, ConfigDict, SecretStr

from tunewatch.plugin import Answer, Derived, Plugin, Retry, Route
from tunewatch.testing.contract import ReactorContract, Rig, SinkContract, ViewContract
from tunewatch.testing.receiver import Receiver, Reply


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = ""
    token: SecretStr = SecretStr("")


class Poster:
    """A sink as a stranger would write it."""

    def __init__(self, settings: Settings, http: ClientSession) -> None:
        self.settings = settings
        self.http = http

    async def deliver(self, delivery) -> None:
        try:
            async with self.http.post(self.settings.url, data=delivery.body) as answer:
                if answer.status >= 300:
                    raise Retry(f"answered {answer.status}")
        except (ClientError, TimeoutError) as error:
            raise Retry(type(error).__name__) from error


@asynccontextmanager
async def open_poster(settings, context) -> AsyncIterator[Poster]:
    async with ClientSession() as http:
        yield Poster(settings, http)


POSTER = Plugin(settings=Settings, events=("@terminal",), open=open_poster)


class TestAGoodSinkOverRealHttp(SinkContract):
    plugin = POSTER

    @asynccontextmanager
    async def receiver(self):
        server = Receiver()
        async with server.serve() as url:

            async def fail() -> None:
                server.usual = Reply(status=503)

            async def heal() -> None:
                server.usual = Reply()

            yield Rig(
                settings={"url": url, "token": "s3cr3t-t0ken"},
                fail=fail,
                heal=heal,
                received=lambda: len(server.received),
                secrets=("s3cr3t-t0ken",),
            )


class Unselecting:
    async def react(self, delivery):
        if not delivery.event.type.endswith("settled"):
            return []
        return [
            Derived(
                type="tunewatch.checkpoint.unselected",
                data={"reason": "no_candidate", "detail": "none"},
            )
        ]


class Front:
    def routes(self):
        async def respond(_headers):
            return Answer(body=b"hello", content_type="text/plain")

        return [Route(path="/hello", respond=respond)]


def plugin_of(make, settings=Settings, events=("@terminal",)):
    @asynccontextmanager
    async def opened(_settings, _context):
        yield make()

    return Plugin(settings=settings, events=events, open=opened)


class TestAGoodReactor(ReactorContract):
    plugin = plugin_of(Unselecting)


class TestAGoodView(ViewContract):
    plugin = plugin_of(Front)


class Silent:
    async def deliver(self, delivery) -> None:
        return None


class Blocking:
    async def deliver(self, delivery) -> None:
        time.sleep(0.12)  # noqa: ASYNC251 - the fault that is to be found


class Choosy:
    async def deliver(self, delivery) -> None:
        if type(delivery.event.payload).__name__ == "Unheard":
            raise KeyError(delivery.event.type)


class Fragile:
    """Is of no use after it was cancelled once."""

    def __init__(self) -> None:
        self.broken = False

    async def deliver(self, delivery) -> None:
        if self.broken:
            raise Retry("still broken")
        self.broken = True
        await asyncio.sleep(0)
        self.broken = False


class Once:
    def __init__(self) -> None:
        self.seen = set()

    async def deliver(self, delivery) -> None:
        if delivery.event.id in self.seen:
            raise ValueError("again")
        self.seen.add(delivery.event.id)


class Lax(BaseModel):
    token: str = "in the clear"


class Fickle:
    def __init__(self) -> None:
        self.calls = 0

    async def react(self, delivery):
        self.calls += 1
        detail = f"call {self.calls}"
        data = {"reason": "no_candidate", "detail": detail}
        return [Derived(type="tunewatch.checkpoint.unselected", data=data)]


class Inventive:
    async def react(self, delivery):
        return [Derived(type="fine_tuning.job.succeeded", data={})]


class Broken:
    def routes(self):
        async def respond(_headers):
            return Answer(body=b"", content_type="text/plain", status=500)

        return [Route(path="broken", respond=respond)]


def with_secret(contract):
    @asynccontextmanager
    async def receiver():
        yield Rig(settings={"token": "in the clear"}, secrets=("in the clear",))

    contract.receiver = receiver
    return contract


def failing(contract):
    @asynccontextmanager
    async def receiver():
        async def fail() -> None:
            return None

        yield Rig(fail=fail)

    contract.receiver = receiver
    return contract


@pytest.mark.parametrize(
    ("contract", "plugin", "check"),
    [
        (SinkContract(), plugin_of(Silent, Lax), "settings_refuse_unknown_keys"),
        (
            with_secret(SinkContract()),
            plugin_of(Silent, Lax),
            "secrets_in_the_settings_are_not_shown",
        ),
        (
            SinkContract(),
            plugin_of(Silent, events=("fine_tuning.job.finished",)),
            "the_default_subscription_is_known",
        ),
        (SinkContract(), plugin_of(Blocking), "the_loop_is_never_held_up"),
        (SinkContract(), plugin_of(Choosy), "events_of_a_later_version_are_no_trouble"),
        (
            SinkContract(),
            plugin_of(Fragile),
            "a_delivery_may_be_cancelled_at_any_await",
        ),
        (SinkContract(), plugin_of(Once), "the_same_delivery_twice_is_harmless"),
        (
            failing(SinkContract()),
            plugin_of(Silent),
            "a_failing_receiver_is_told_in_the_words_of_the_contract",
        ),
        (ReactorContract(), plugin_of(Fickle), "it_concludes_the_same_from_the_same"),
        (
            ReactorContract(),
            plugin_of(Inventive),
            "it_concludes_only_what_the_catalogue_has",
        ),
        (ViewContract(), plugin_of(Broken), "every_route_answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_suite_finds_a_fault(contract, plugin, check):
    contract.plugin = plugin
    with pytest.raises((AssertionError, KeyError, ValueError, Retry)):
        getattr(contract, f"test_{check}")()


def test_the_suite_finds_a_task_that_is_left_behind():
    left = []

    @asynccontextmanager
    async def opened(_settings, _context):
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(3600)))
        yield Silent()

    contract = SinkContract()
    contract.plugin = Plugin(settings=Settings, events=("@terminal",), open=opened)
    with pytest.raises(AssertionError, match="tasks are left running"):
        contract.test_it_opens_and_closes_twice_and_leaves_no_task_behind()

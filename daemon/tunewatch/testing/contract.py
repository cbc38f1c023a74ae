"""The contract suite for plugins: subclass one class, and learn what does not hold.

    class TestMine(SinkContract):
        plugin = PLUGIN

        @asynccontextmanager
        async def receiver(self):
            async with my_server() as server:
                yield Rig(settings={"url": server.url}, fail=server.fail)

Works under pytest and needs nothing of it. Every check opens the plugin as the daemon
does, on a loop of its own. Knows only the public contract.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, ValidationError

from tunewatch.events import (
    CATALOGUE,
    DERIVED_TYPES,
    JobStatusChanged,
    matcher,
    status_type,
)
from tunewatch.events.wire import payload_of
from tunewatch.model import JobStatus
from tunewatch.plugin import Delivery, Derived, Plugin, Route
from tunewatch.testing import examples
from tunewatch.testing.attempts import (
    ANSWERED,
    cancelled_everywhere,
    delivered,
    delivered_or_rejected,
    failed,
    longest_hold,
    reacted,
)
from tunewatch.testing.lent import LentJobs, lent

__all__ = ["ReactorContract", "Rig", "SinkContract", "ViewContract"]

BLOCKED = 0.05
"""s that a plugin may hold the loop."""
_UNHEARD_KEY = "no_plugin_has_a_key_of_this_name"


async def _nothing() -> None:
    """Make nothing fail: there is no receiver that could."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """What a plugin is tested with: its table, and a grip on its receiver."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    fail: Callable[[], Awaitable[None]] | None = None  #: let the receiver fail
    heal: Callable[[], Awaitable[None]] = _nothing  #: let it work again
    received: Callable[[], int] | None = None  #: how many deliveries reached it
    secrets: tuple[str, ...] = ()  #: texts in the settings that nobody may see
    jobs: LentJobs = field(default_factory=LentJobs)


class _Contract:
    """What holds for every plugin."""

    plugin: ClassVar[Plugin[Any]]
    name = "contract"

    def receiver(self) -> AbstractAsyncContextManager[Rig]:
        """Return a context with the plugin's receiver, working. To be overridden."""
        return _alone()

    def test_settings_refuse_unknown_keys(self) -> None:
        """A misspelt key must not be silently without effect."""

        async def check(rig: Rig) -> None:
            self._settings(rig)
            wrong = {**rig.settings, _UNHEARD_KEY: 1}
            try:
                self.plugin.settings.model_validate(wrong)
            except ValidationError as error:
                kinds = {one["type"] for one in error.errors()}
                assert "extra_forbidden" in kinds, kinds
            else:
                raise AssertionError('settings need ConfigDict(extra="forbid")')

        self._run(check)

    def test_secrets_in_the_settings_are_not_shown(self) -> None:
        """Settings are logged and printed."""

        async def check(rig: Rig) -> None:
            settings = self._settings(rig)
            for shown in (repr(settings), str(settings), settings.model_dump_json()):
                for secret in rig.secrets:
                    assert secret not in shown, "a secret shows in the settings"

        self._run(check)

    def test_the_default_subscription_is_known(self) -> None:
        """A default that matches nothing is a mistake nobody would find."""
        types = [kind.TYPE for kind in CATALOGUE if kind is not JobStatusChanged]
        types += [status_type(status) for status in JobStatus]
        for pattern in self.plugin.events:
            wanted = matcher([pattern])
            assert any(map(wanted, types)), f"{pattern!r} matches no known type"

    def test_it_opens_and_closes_twice_and_leaves_no_task_behind(self) -> None:
        """The daemon opens it again after trouble, in the same process."""

        async def check(rig: Rig) -> None:
            before = asyncio.all_tasks()
            for _ in range(2):
                async with self._open(rig):
                    pass
            for _ in range(10):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - before
            assert not left, f"tasks are left running: {left}"

        self._run(check)

    @asynccontextmanager
    async def _open(self, rig: Rig) -> AsyncIterator[Any]:
        with tempfile.TemporaryDirectory() as directory:
            context = lent(self.name, Path(directory), jobs=rig.jobs)
            async with self.plugin.open(self._settings(rig), context) as opened:
                yield opened

    def _settings(self, rig: Rig) -> BaseModel:
        settings: BaseModel = self.plugin.settings.model_validate(dict(rig.settings))
        return settings

    def _run(self, check: Callable[[Rig], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(4 * ANSWERED), self.receiver() as rig:
                await check(rig)

        with asyncio.Runner() as runner:
            runner.run(whole())


class SinkContract(_Contract):
    """What holds for every sink."""

    def test_every_event_of_the_subscription_is_taken(self) -> None:
        """Whatever it asks for by default, a working receiver gets."""

        async def check(rig: Rig) -> None:
            wanted = matcher(self.plugin.events)
            async with self._open(rig) as sink:
                for delivery in examples.deliveries():
                    if wanted(delivery.event.type):
                        await delivered(sink, delivery)
            if rig.received is not None:
                assert rig.received() > 0, "nothing reached the receiver"

        self._run(check)

    def test_any_event_may_be_subscribed(self) -> None:
        """A person may ask for more than the default: refusing by Reject is fine."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                for delivery in examples.deliveries():
                    await delivered_or_rejected(sink, delivery)

        self._run(check)

    def test_the_same_delivery_twice_is_harmless(self) -> None:
        """Delivery is at least once."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                for delivery in self._wanted():
                    await delivered(sink, delivery)
                    await delivered(sink, replace(delivery, attempt=2))

        self._run(check)

    def test_events_of_a_later_version_are_no_trouble(self) -> None:
        """Within version 1 types and fields are added."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                for delivery in examples.odd_deliveries():
                    await delivered_or_rejected(sink, delivery)

        self._run(check)

    def test_a_big_event_is_taken_or_refused_in_order(self) -> None:
        """An event carries up to 500 points and 128 KiB."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                await delivered_or_rejected(sink, examples.big_delivery())
                for delivery in self._wanted()[:1]:
                    await delivered(sink, delivery)

        self._run(check)

    def test_a_delivery_may_be_cancelled_at_any_await(self) -> None:
        """Timeouts and stops cancel; the next delivery must work all the same."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                for delivery in self._wanted()[:1]:
                    await cancelled_everywhere(sink, delivery)
                    await delivered(sink, delivery)

        self._run(check)

    def test_a_failing_receiver_is_told_in_the_words_of_the_contract(self) -> None:
        """Retry, Reject or Pause; and all is well again when the receiver is."""

        async def check(rig: Rig) -> None:
            if rig.fail is None:
                return
            async with self._open(rig) as sink:
                for delivery in self._wanted()[:1]:
                    await rig.fail()
                    await failed(sink, delivery, rig.secrets)
                    await rig.heal()
                    await delivered(sink, delivery)

        self._run(check)

    def test_the_loop_is_never_held_up(self) -> None:
        """What blocks runs in a thread of its own: all plugins share the loop."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as sink:
                for delivery in [*self._wanted(), examples.big_delivery()]:
                    # A busy machine holds everybody up now and then, not each time.
                    held = [
                        await longest_hold(delivered_or_rejected(sink, delivery))
                        for _ in range(3)
                    ]
                    assert min(held) <= BLOCKED, (
                        f"{delivery.event.type} held the loop for {min(held):.3f} s"
                    )

        self._run(check)

    def test_no_task_outlives_its_deliveries(self) -> None:
        """What was started for a delivery ends with the plugin at the latest."""

        async def check(rig: Rig) -> None:
            before = asyncio.all_tasks()
            async with self._open(rig) as sink:
                for delivery in self._wanted():
                    await delivered(sink, delivery)
            for _ in range(10):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - before
            assert not left, f"tasks are left running: {left}"

        self._run(check)

    def _wanted(self) -> list[Delivery]:
        wanted = matcher(self.plugin.events)
        return [one for one in examples.deliveries() if wanted(one.event.type)]


class ReactorContract(_Contract):
    """What holds for every reactor. The examples' job is there to be read."""

    def test_it_concludes_the_same_from_the_same(self) -> None:
        """A conclusion is committed once, whichever try of it came through."""

        async def check(rig: Rig) -> None:
            rig.jobs.put(examples.SNAPSHOT)
            async with self._open(rig) as reactor:
                once = [await reacted(reactor, one) for one in examples.deliveries()]
                again = [await reacted(reactor, one) for one in examples.deliveries()]
            async with self._open(rig) as reactor:
                anew = [await reacted(reactor, one) for one in examples.deliveries()]
            assert once == again == anew

        self._run(check)

    def test_it_concludes_only_what_the_catalogue_has(self) -> None:
        """And with data that can be read again."""

        async def check(rig: Rig) -> None:
            rig.jobs.put(examples.SNAPSHOT)
            async with self._open(rig) as reactor:
                for delivery in examples.deliveries():
                    for one in await reacted(reactor, delivery):
                        assert isinstance(one, Derived), one
                        assert one.type in DERIVED_TYPES, one.type
                        raw = msgspec.json.encode(one.data)
                        payload_of(one.type, msgspec.json.decode(raw))

        self._run(check)

    def test_a_job_that_nobody_knows_is_no_trouble(self) -> None:
        """Retention may be faster than a reactor."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as reactor:
                for delivery in [*examples.deliveries(), *examples.odd_deliveries()]:
                    await reacted(reactor, delivery)

        self._run(check)

    def test_the_loop_is_never_held_up(self) -> None:
        """All plugins share the loop."""

        async def check(rig: Rig) -> None:
            rig.jobs.put(examples.SNAPSHOT)
            async with self._open(rig) as reactor:
                for delivery in [*examples.deliveries(), examples.big_delivery()]:
                    held = [
                        await longest_hold(reacted(reactor, delivery)) for _ in range(3)
                    ]
                    assert min(held) <= BLOCKED, f"held the loop for {min(held):.3f} s"

        self._run(check)


class ViewContract(_Contract):
    """What holds for every view."""

    def test_every_route_answers(self) -> None:
        """With no job at all, and again."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as view:
                routes: list[Route] = list(view.routes())
                assert routes, "a view without a route shows nothing"
                paths = [route.path for route in routes]
                assert len(set(paths)) == len(paths), f"a path twice: {paths}"
                for route in routes:
                    assert route.path.startswith("/"), route.path
                    for _ in range(2):
                        async with asyncio.timeout(ANSWERED):
                            answer = await route.respond({})
                        assert answer.status < 500, answer.status
                        assert answer.content_type
                        for secret in rig.secrets:
                            assert secret.encode() not in answer.body

        self._run(check)

    def test_the_loop_is_never_held_up(self) -> None:
        """All plugins share the loop."""

        async def check(rig: Rig) -> None:
            async with self._open(rig) as view:
                for route in view.routes():
                    held = [await longest_hold(route.respond({})) for _ in range(3)]
                    assert min(held) <= BLOCKED, f"held the loop for {min(held):.3f} s"

        self._run(check)


@asynccontextmanager
async def _alone() -> AsyncIterator[Rig]:
    yield Rig()

"""What holds for every sink: it takes what it asks for, or says why not.

Knows neither the plugin nor its receiver, beyond what a test lends of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tunewatch.events import matcher
from tunewatch.plugin import Delivery
from tunewatch.testing import examples
from tunewatch.testing.attempts import (
    cancelled_everywhere,
    delivered,
    delivered_or_rejected,
    failed,
    longest_hold,
)
from tunewatch.testing.plugin_contract import BLOCKED, PluginContract, Rig


class SinkContract(PluginContract):
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

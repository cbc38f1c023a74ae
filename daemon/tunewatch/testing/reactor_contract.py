"""What holds for every reactor: the same conclusions from the same, and readable ones.

Knows neither what is concluded nor from what.
"""

from __future__ import annotations

import msgspec

from tunewatch.events import DERIVED_TYPES
from tunewatch.events.wire import payload_of
from tunewatch.plugin import Derived
from tunewatch.testing import examples
from tunewatch.testing.attempts import longest_hold, reacted
from tunewatch.testing.plugin_contract import BLOCKED, PluginContract, Rig


class ReactorContract(PluginContract):
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

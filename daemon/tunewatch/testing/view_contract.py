"""What holds for every view: each of its routes answers, whatever there is to see.

Knows not what is shown.
"""

from __future__ import annotations

import asyncio

from tunewatch.plugin import Route
from tunewatch.testing.attempts import ANSWERED, longest_hold
from tunewatch.testing.plugin_contract import BLOCKED, PluginContract, Rig


class ViewContract(PluginContract):
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

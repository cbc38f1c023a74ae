"""Lives of the daemon that end at a named point, brought about by what leads there.

Knows how a daemon is made to come by a point; what must be true afterwards is the
judge's.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

import aiohttp

from support.doomed import HASTE, Doom, doom
from support.fatal_points import POINTS, Point, Stage
from support.fault_scene import Scene
from support.judge import PostgresBooks
from support.program import RunningProcess

WITHIN = 60.0
"""s for a daemon to come by a point, on a machine that does other things too."""
TOKEN = "a-token-of-tests-and-of-nothing-else"
AGAIN = 8
"""Events that are asked for once more in one go."""


@dataclass(slots=True, kw_only=True)
class Deaths:
    """Brings about ends of a scene's daemon."""

    scene: Scene
    chance: random.Random
    asked: set[tuple[str, str]] = field(default_factory=set)
    """What a person asked to be delivered once more: plugin and event."""

    def __post_init__(self) -> None:
        program = self.scene.daemon.program
        doom(program)
        program.is_cold = False
        program.environ["TUNEWATCH_DAEMON__API_TOKEN"] = TOKEN

    async def die_at(self, name: str, **environ: str) -> None:
        """Let a life begin that ends at a point; fail if it does not end there."""
        scene, daemon, point = self.scene, self.scene.daemon, POINTS[name]
        call = self.chance.randint(1, point.calls)
        await scene.begin_life()
        if point.stage == "walk":
            self._walk_anew()
        daemon.environ = {HASTE: "yes", **environ, **Doom(name, call).environment}
        daemon.program.is_cold = True
        try:
            process = await daemon.spawn()
            async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as tasks:
                leading = tasks.create_task(self._lead_to(point, process), name=name)
                code = await process.wait()
                leading.cancel()
        except TimeoutError:
            way = f"it did not come by: {name}, call {call}\n{daemon.said()}"
            raise AssertionError(way) from None
        finally:
            daemon.environ = {}
            daemon.program.is_cold = False
        assert code == -signal.SIGKILL, daemon.ended()
        await scene.kill()

    def forgive(self) -> None:
        """Take out of what came twice what somebody asked for."""
        uncalled = self.scene.receiver.uncalled
        mine = tuple(f"{plugin}: {event} " for plugin, event in self.asked)
        uncalled[:] = [line for line in uncalled if not line.startswith(mine)]

    async def _lead_to(self, point: Point, process: RunningProcess) -> None:
        stage: Stage = point.stage
        if stage not in {"redelivery", "reload", "stop"}:
            return
        try:
            await self.scene.daemon.ready(process)
            await self.scene.at_work()
            await self._ask_for(stage, process)
        except (AssertionError, aiohttp.ClientError):
            # What an earlier life left may have led there already.
            await asyncio.sleep(1.0)
            if process.returncode is None:
                raise

    async def _ask_for(self, stage: Stage, process: RunningProcess) -> None:
        match stage:
            case "redelivery":
                await self._ask_again()
            case "reload":
                self.scene.daemon.interval = f"{self.chance.randint(150, 300)}ms"
                self.scene.daemon.configure()
                process.send_signal(signal.SIGHUP)
            case _:
                process.send_signal(signal.SIGTERM)

    async def _ask_again(self) -> None:
        """Ask for some events that one plugin has acknowledged."""
        known = self.scene.receiver.known
        plugin = self.chance.choice(self.scene.names)
        had = sorted(
            event
            for (name, event), one in known.items()
            if name == plugin and one.acknowledged
        )
        some = self.chance.sample(had, min(AGAIN, len(had)))
        self.asked |= {(plugin, event) for event in some}
        url = f"http://127.0.0.1:{self.scene.daemon.port}/api/v1/redeliver"
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            body = {"plugin": plugin, "events": some}
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status < 300, await answer.text()

    def _walk_anew(self) -> None:
        """Let the walk over all jobs be one that broke off at its beginning."""
        anew = "UPDATE source SET walked = false, walk_cursor = NULL"
        books = self.scene.judge.books
        if isinstance(books, PostgresBooks):
            books.server.run(anew, books.database)
            return
        path = self.scene.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.execute(anew)

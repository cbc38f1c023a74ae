"""What holds for every plugin, whatever it is: settings, subscription, open and close.

The part that the contracts of sinks, reactors and views share, with what they are
tested with. Knows only the public contract, and not what a plugin is handed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from tunewatch.events import CATALOGUE, JobStatusChanged, matcher, status_type
from tunewatch.model import JobStatus
from tunewatch.plugin import Plugin
from tunewatch.testing.attempts import ANSWERED
from tunewatch.testing.lent import LentJobs, lent

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


class PluginContract:
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


@asynccontextmanager
async def _alone() -> AsyncIterator[Rig]:
    yield Rig()

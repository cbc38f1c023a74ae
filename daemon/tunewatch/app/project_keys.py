"""A folder of keys: one file for each project, named by the project's id.

Looked at again and again, so that a file which is dropped in, exchanged or taken out
counts without a restart; a mounted Kubernetes secret will do. Shows no key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tunewatch.config.tables import NAME
from tunewatch.settings import Secret

WEBHOOK = ".webhook"
"""What follows a project's id where the file has the secrets of its webhooks."""
GONE_AFTER = 10.0
"""s for which a file that vanished still counts: it may only be being replaced."""


class ProjectKeys:
    """The files of one folder, as they were when somebody last looked.

    `learn` is told of every secret that is found, so that logs can be searched for it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        is_project: Callable[[str], bool],
        monotonic: Callable[[], float],
        learn: Callable[[Secret], None],
    ) -> None:
        self._directory = directory
        self._is_project = is_project
        self._monotonic = monotonic
        self._learn = learn
        self._secrets: dict[str, Secret] = {}  # by the file's name
        self._seen_at: dict[str, float] = {}
        self._good: frozenset[str] = frozenset()  # files that have something in them
        self.trouble: str | None = None  #: why the folder cannot be read

    async def look(self) -> None:
        """See which files there are now. A folder that is away changes nothing."""
        try:
            names = await asyncio.to_thread(self._names)
        except OSError as error:
            self.trouble = (error.strerror or type(error).__name__).lower()
            return
        self.trouble = None
        now = self._monotonic()
        for name in names:
            self._seen_at[name] = now
            if name not in self._secrets:
                self._secrets[name] = Secret.from_file(self._directory / name)
                self._learn(self._secrets[name])
        self._good = await asyncio.to_thread(self._readable)

    def key(self, project: str) -> Secret | None:
        """Return the key of a project, None if there is none."""
        return self._secrets[project] if project in self._good else None

    def webhook(self, project: str) -> Secret | None:
        """Return the secrets of a project's webhooks, None if there are none."""
        return self.key(project + WEBHOOK)

    def projects(self) -> list[str]:
        """Return the projects that have a key."""
        return sorted(name for name in self._good if not name.endswith(WEBHOOK))

    def wanted(self, project: str) -> str:
        """Say what to do for a project that has no key."""
        file = self._directory / project
        if project in self._seen_at:
            return f"no key: {file} is empty, gone, or cannot be read"
        return f"no key yet: put one in {file}"

    def _names(self) -> list[str]:
        with os.scandir(self._directory) as found:
            return [
                one.name for one in found if self._is_ours(one.name) and one.is_file()
            ]

    def _is_ours(self, name: str) -> bool:
        project = name.removesuffix(WEBHOOK)
        return NAME.fullmatch(project) is not None and self._is_project(project)

    def _readable(self) -> frozenset[str]:
        lately = self._monotonic() - GONE_AFTER
        return frozenset(
            name
            for name, at in self._seen_at.items()
            if at >= lately and self._secrets[name].get() is not None
        )

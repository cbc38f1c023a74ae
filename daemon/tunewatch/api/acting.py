"""What people ask to be done: rows that whoever has the source or plugin takes up.

Answers as soon as the row is written. Checks that what is named exists.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from tunewatch.api.answers import RequestAnswer
from tunewatch.api.asked import OneJobAsked, PauseBody
from tunewatch.api.faults import NotThere
from tunewatch.api.stored_jobs import StoredJobs
from tunewatch.settings import closest
from tunewatch.store.requests import Requests


class Acting:
    """Asks for things to be done. Every method may raise StoreFault."""

    def __init__(
        self, jobs: StoredJobs, requests: Requests, *, plugins: Collection[str]
    ) -> None:
        self._jobs = jobs
        self._requests = requests
        self._plugins = plugins

    async def look(self, job_id: str, asked: OneJobAsked) -> RequestAnswer:
        """Have a job looked at now. Raises NotThere, Ambiguous."""
        found = await self._jobs.found(job_id, asked.source)
        ids = {row.name: row.id for row in await self._jobs.reads.sources()}
        return await self._add("look", {"job": job_id}, ids[found.source])

    async def pause(self, name: str, body: PauseBody) -> RequestAnswer:
        """Hold back deliveries to a plugin. Raises NotThere."""
        reason = {} if body.reason is None else {"reason": body.reason}
        return await self._add("pause", {"plugin": self._known(name), **reason})

    async def resume(self, name: str) -> RequestAnswer:
        """Let deliveries to a plugin go on. Raises NotThere."""
        return await self._add("resume", {"plugin": self._known(name)})

    def _known(self, name: str) -> str:
        if name in self._plugins:
            return name
        meant = closest(name, self._plugins)
        known = ", ".join(self._plugins) or "none"
        hint = f"did you mean {meant}?" if meant else f"configured are {known}"
        raise NotThere(f"there is no plugin {name} in the configuration; {hint}")

    async def _add(
        self, kind: str, body: dict[str, str], source_id: int | None = None
    ) -> RequestAnswer:
        made = await self._requests.add(kind, source_id, msgspec.json.encode(body))
        return RequestAnswer(id=made, kind=kind)

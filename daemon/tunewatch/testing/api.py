"""The simulated fine-tuning API: what tests and demonstrations script it with.

Knows jobs, keys, files and faults. How requests are read and answers sent is `server`'s
and `endpoints`' business.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tunewatch.testing.clock import SimulatedClock
from tunewatch.testing.faults import TRANSIENT, Fault
from tunewatch.testing.files import Files
from tunewatch.testing.messages import Dialect
from tunewatch.testing.projects import Project, Projects
from tunewatch.testing.requests import RequestLog
from tunewatch.testing.rules import Rule
from tunewatch.testing.script import Script
from tunewatch.testing.scripted import ScriptedJob
from tunewatch.testing.served import ServedJob
from tunewatch.testing.server import serving

DEFAULT_KEY = "sk-simulated"
"""The key that opens the project `default`."""

JobRef = ServedJob | str
"""A job, or its id."""


class SimulatedApi:
    """A fine-tuning API without a provider: deterministic by seed and clock.

    What a job shows is computed from its script, the requests that steered it, and
    the simulated time. `clock` defaults to one that runs `time_scale` times as fast
    as ours; with `SimulatedClock(scale=0)` time passes when a test says so.

    Attributes that can be set at any time:

    * `largest_page`: lists give at most so many items, whatever is asked;
    * `list_omits`: fields of a job that list pages leave out;
    * `accepts_jobs`: whether jobs can be created by requests (else 403);
    * `requests_per_minute`: what one key may ask (else 429); None: anything;
    * `date_offset`: seconds that the Date header is ahead of our clock.
    """

    def __init__(
        self,
        *,
        seed: int | str = 0,
        time_scale: float = 1.0,
        clock: SimulatedClock | None = None,
        dialect: Dialect = "openai",
        organization: str = "acme",
        largest_page: int | None = None,
    ) -> None:
        self.seed = str(seed)
        self.clock = clock or SimulatedClock(scale=time_scale)
        self.dialect: Dialect = dialect
        self.organization = organization
        self.largest_page = largest_page
        self.list_omits: frozenset[str] = frozenset()
        self.accepts_jobs = True
        self.requests_per_minute: int | None = None
        self.date_offset = 0.0
        self.requests = RequestLog()
        self.projects = Projects()
        self.files = Files(dialect)
        self.rules: list[Rule] = []
        self.before_each: list[Callable[[float], None]] = []
        self.admin_keys: set[str] = set()
        self._made = 0
        self.projects.project("default", (DEFAULT_KEY,)).is_listed = False

    @asynccontextmanager
    async def serve(
        self, *, port: int = 0, host: str = "127.0.0.1"
    ) -> AsyncIterator[str]:
        """Serve on a loopback port while open, and give the URL that a source takes.

        It ends in /v1; of Azure's dialect it is the endpoint. Can be served again, on
        the same port too, as after an outage.
        """
        async with serving(self, host=host, port=port) as origin:
            yield origin if self.dialect == "azure" else f"{origin}/v1"

    # Projects and keys

    def project(self, name: str, keys: Iterable[str] = ()) -> Project:
        """Return the project of that name, made if new, with these further keys."""
        return self.projects.project(name, keys)

    def add_key(self, key: str, *, project: str = "default") -> None:
        """Let a key see a project; several may see the same."""
        self.projects.add_key(key, project=project)

    def add_token(self, token: str, *, project: str = "default") -> None:
        """Let a token of Entra ID see a project; Azure's dialect takes it as bearer."""
        self.projects.add_token(token, project=project)

    def revoke_key(self, key: str) -> None:
        """Answer 401 to a key from now on."""
        self.projects.revoke(key)

    def rotate_key(self, old: str, new: str) -> None:
        """Revoke a key and let a new one see what it saw. Raises LookupError."""
        self.projects.rotate(old, new)

    # The organisation, as its administrators see it

    def add_admin_key(self, key: str) -> None:
        """Let a key list the projects; it sees no job."""
        self.admin_keys.add(key)

    def found_project(
        self, name: str, keys: Iterable[str] = (), *, title: str = ""
    ) -> Project:
        """Return a project that is made now and listed under a title."""
        project = self.projects.project(name, keys)
        project.title = title
        project.created_at = self.clock.stamp(self.clock.now())
        return project

    def archive_project(self, name: str) -> None:
        """Archive a project: its keys are refused from now on. Raises LookupError."""
        project = next((one for one in self.projects if one.name == name), None)
        if project is None:
            raise LookupError(f"no project {name!r} was made")
        project.archived_at = self.clock.stamp(self.clock.now())
        for key in list(project.keys):
            self.projects.revoke(key)

    # Jobs that follow a script

    def add_job(self, script: Script | None = None, **changes: Any) -> ServedJob:
        """Add a job that follows a script; keywords are fields of `Script`."""
        job = self._made_from(replace(script or Script(), **changes))
        self.projects.put(job.scripted.script.project, [job])
        return job

    def put_many(
        self,
        count: int,
        script: Script | None = None,
        *,
        apart: float = 60.0,
        **changes: Any,
    ) -> list[ServedJob]:
        """Add many jobs of one script, oldest first.

        The last starts at the script's start, the others `apart` simulated seconds
        before each other.
        """
        pattern = replace(script or Script(), **changes)
        last = self.clock.now() if pattern.start is None else pattern.start
        jobs = [
            self._made_from(replace(pattern, start=last - apart * before))
            for before in reversed(range(count))
        ]
        self.projects.put(pattern.project, jobs)
        return jobs

    def create_job(self, project: Project, wishes: Mapping[str, Any]) -> ServedJob:
        """Add the job that the body of a request describes."""
        return self.add_job(Script.wished(project.name, wishes))

    def _made_from(self, script: Script) -> ServedJob:
        self._made += 1
        start = self.clock.now() if script.start is None else script.start
        scripted = ScriptedJob(
            script=script,
            start=start,
            seed=f"{self.seed}:{self._made}",
            dialect=self.dialect,
            organization=self.organization,
            stamp=self.clock.stamp,
        )
        return ServedJob(scripted, at=start)

    # What is served word for word

    def put_job(self, raw: Mapping[str, Any], *, project: str = "default") -> ServedJob:
        """Serve this job object as it is; it is listed by its created_at.

        Raises TypeError if it has no id.
        """
        if not isinstance(raw.get("id"), str):
            raise TypeError(f"put_job: wanted an object with an id, found {raw!r}")
        now, created = self.clock.now(), raw.get("created_at")
        at = min(now, created) if isinstance(created, int | float) else now
        job = ServedJob(raw, at=at)
        self.projects.put(project, [job])
        return job

    def put_events(self, job: JobRef, raws: Sequence[Any]) -> None:
        """Serve these events, newest first, in place of the job's own.

        An item is any JSON value, or bytes that are served untouched.
        """
        self.job(job).put_entries(raws)

    def add_events(self, job: JobRef, raws: Sequence[Any]) -> None:
        """Serve these events, newest first, above those there are now."""
        self.job(job).add_entries(raws, self.clock.now())

    def put_checkpoints(self, job: JobRef, raws: Sequence[Any]) -> None:
        """Serve these checkpoints, newest first, in place of the job's own."""
        self.job(job).put_checkpoints(raws)

    def put_file(self, file_id: str, content: bytes, *, base64: bool = True) -> None:
        """Serve a file; OpenAI's result files come as base64 text, Azure's plain."""
        born = self.clock.stamp(self.clock.now())
        self.files.put(file_id, content, plain=not base64, created_at=born)

    def withhold_file(self, file_id: str) -> None:
        """Answer 404 for a file until it is put."""
        self.files.withhold(file_id)

    # Changes from outside

    def job(self, job: JobRef) -> ServedJob:
        """Return a job by its id. Raises LookupError."""
        return job if isinstance(job, ServedJob) else self.projects.find(job)[1]

    def set_status(self, job: JobRef, status: str) -> None:
        """Show this status, any word, whatever the script says from now on."""
        self.update_job(job, {"status": status})

    def update_job(
        self, job: JobRef, fields: Mapping[str, Any], *, drop: Iterable[str] = ()
    ) -> None:
        """Lay fields over the job object, and leave others out."""
        self.job(job).lay(fields, drop)

    def delete_job(self, job: JobRef) -> None:
        """Let a job be gone: 404, and on no page. Raises LookupError."""
        project, found = self.projects.find(job if isinstance(job, str) else job.id)
        project.remove(found.id)

    # Trouble

    def fault(
        self,
        match: str,
        answer: Fault,
        *,
        times: int | None = 1,
        skip: int = 0,
        key: str | None = None,
    ) -> Rule:
        """Let something go wrong with requests that match.

        `match` is a pattern over method, path and query (`GET */events*`). The first
        `skip` requests pass, the next `times` are struck (None: all, until `lift`).
        The first rule added that strikes wins.
        """
        rule = Rule([answer], match=match, times=times, skip=skip, key=key)
        self.rules.append(rule)
        return rule

    def chaos(
        self,
        *,
        rate: float = 0.05,
        seed: int | None = None,
        faults: Sequence[Fault] = TRANSIENT,
        match: str = "*",
    ) -> Rule:
        """Let something go wrong with a part of all requests, by chance, until lifted.

        The same seed strikes the same requests in the order in which they come.
        """
        chance = random.Random(self.seed if seed is None else seed)
        rule = Rule(faults, match=match, rate=rate, chance=chance)
        self.rules.append(rule)
        return rule

"""Projects, their keys, and their jobs in the order of their creation.

Knows no request: it answers which project a key opens, and which jobs a project has
at a simulated moment.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tunewatch.testing.ids import token
from tunewatch.testing.served import ServedJob


def _order(job: ServedJob) -> tuple[float, int]:
    return job.at, job.number


@dataclass(kw_only=True)
class Project:
    """One project: its jobs can be seen by each of its keys, and by no other."""

    name: str
    keys: set[str] = field(default_factory=set)
    title: str = ""  #: what people call it; "": the same as its name
    created_at: int = 0
    archived_at: int | None = None
    is_listed: bool = True  #: whether administrators see it
    _jobs: list[ServedJob] = field(default_factory=list)  # oldest first
    _by_id: dict[str, ServedJob] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its id, by which the organisation lists it."""
        if self.name.startswith("proj_"):
            return self.name
        return f"proj_{token('project', self.name)}"

    def put(self, jobs: Iterable[ServedJob], *, number: int) -> None:
        """Take jobs in; their numbers, from this one on, break ties."""
        many = list(jobs)
        for job in many:
            job.number, number = number, number + 1
            if job.id in self._by_id:
                self.remove(job.id)
            self._by_id[job.id] = job
        if len(many) == 1:
            insort(self._jobs, many[0], key=_order)
        else:
            self._jobs = sorted([*self._jobs, *many], key=_order)

    def remove(self, job_id: str) -> None:
        """Forget a job. Raises KeyError."""
        job = self._by_id.pop(job_id)
        del self._jobs[bisect_left(self._jobs, _order(job), key=_order)]

    def get(self, job_id: str, now: float) -> ServedJob | None:
        """Return a job if it exists by now."""
        job = self._by_id.get(job_id)
        return job if job is not None and job.at <= now else None

    def jobs(self, now: float) -> tuple[Sequence[ServedJob], int]:
        """Return the jobs, oldest first, and how many of them exist by now."""
        return self._jobs, bisect_right(self._jobs, (now, math.inf), key=_order)

    def position(self, job_id: str) -> int | None:
        """Return where a job is in the list of `jobs`."""
        job = self._by_id.get(job_id)
        if job is None:
            return None
        return bisect_left(self._jobs, _order(job), key=_order)


class Projects:
    """All projects of the simulated organisation, and who may see which."""

    def __init__(self) -> None:
        self._projects: dict[str, Project] = {}
        self._revoked: set[str] = set()
        self._tokens: set[str] = set()
        self._number = 0

    def __iter__(self) -> Iterator[Project]:
        return iter(self._projects.values())

    def project(self, name: str, keys: Iterable[str] = ()) -> Project:
        """Return the project of that name, made if it is new, with further keys."""
        project = self._projects.setdefault(name, Project(name=name))
        for key in keys:
            self.add_key(key, project=name)
        return project

    def add_key(self, key: str, *, project: str) -> None:
        """Let a key see a project; it sees that one only."""
        for other in self._projects.values():
            other.keys.discard(key)
        self._revoked.discard(key)
        self.project(project).keys.add(key)

    def add_token(self, token: str, *, project: str) -> None:
        """Let a token of Entra ID see a project, as a key would."""
        self.add_key(token, project=project)
        self._tokens.add(token)

    def is_token(self, key: str) -> bool:
        """Whether it was added as a token."""
        return key in self._tokens

    def revoke(self, key: str) -> None:
        """Refuse a key from now on."""
        for project in self._projects.values():
            project.keys.discard(key)
        self._revoked.add(key)

    def rotate(self, old: str, new: str) -> None:
        """Let a new key see what the old one saw, and refuse the old one.

        Raises LookupError if the old one opens nothing.
        """
        project = self.opened_by(old)
        if project is None:
            raise LookupError("the key to rotate opens no project: add it first")
        self.add_key(new, project=project.name)
        self.revoke(old)

    def opened_by(self, key: str) -> Project | None:
        """Return the project that a key opens."""
        for project in self._projects.values():
            if key in project.keys:
                return project
        return None

    def is_revoked(self, key: str) -> bool:
        """Whether a key was good once."""
        return key in self._revoked

    def put(self, project: str, jobs: Sequence[ServedJob]) -> None:
        """Put jobs into a project."""
        self.project(project).put(jobs, number=self._number)
        self._number += len(jobs)

    def find(self, job_id: str) -> tuple[Project, ServedJob]:
        """Return a job wherever it is, also one yet to come. Raises LookupError."""
        for project in self._projects.values():
            job = project.get(job_id, math.inf)
            if job is not None:
                return project, job
        raise LookupError(f"no job {job_id!r} was added or put")

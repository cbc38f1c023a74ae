"""What is odd about a source's job list, each said in the log once.

Items that cannot be read, and jobs that another source owns already. Knows no request
and decides nothing but what was said before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from tunewatch.sources.contract import RawJob, Unreadable


@dataclass(slots=True, kw_only=True)
class Noticed:
    """The oddities of one source's list in this lease term."""

    log: FilteringBoundLogger
    _odd: set[bytes] = field(default_factory=set)  # digests of unreadable items
    _malformed: dict[int | None, int] = field(default_factory=dict)  # by rank
    _foreign: set[str] = field(default_factory=set)
    _owners: set[str] = field(default_factory=set)  # the sources that own those

    def unreadable(self, raw: RawJob, fault: Unreadable) -> None:
        """Note an item that is no job anybody can read."""
        if raw.digest not in self._odd:
            self._odd.add(raw.digest)
            self.log.warning("poll.malformed_job", reason=fault.reason)

    def is_unreadable(self, raw: RawJob) -> bool:
        """Whether this very item could not be read before."""
        return raw.digest in self._odd

    def malformed(self, count: int, *, rank: int | None) -> None:
        """Note how many items of a page were left out of it."""
        if count > self._malformed.get(rank, 0):
            self.log.warning("poll.malformed_jobs", count=count)
        self._malformed[rank] = count

    def foreign(self, job_id: str, owner: str | None) -> None:
        """Note that another source has a job: two keys see the same, the first keeps.

        Said once for each owner, not for each job.
        """
        self._foreign.add(job_id)
        name = owner or ""
        if name not in self._owners:
            self._owners.add(name)
            self.log.warning("poll.owned_by_another_source", job=job_id, owner=name)

    @property
    def foreign_jobs(self) -> frozenset[str]:
        """The jobs on the list that belong to another source."""
        return frozenset(self._foreign)

    def own(self, job_ids: Collection[str]) -> None:
        """Note that these jobs belong to this source from now on."""
        self._foreign.difference_update(job_ids)

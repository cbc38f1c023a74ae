"""The store as who answers: questions about jobs.

Reads only. Every question costs a bounded amount of work.
"""

from __future__ import annotations

from msgspec.structs import asdict

from tunewatch.api import cursors
from tunewatch.api.answers import (
    BestAnswer,
    CheckpointList,
    JobAnswer,
    JobList,
    PointList,
)
from tunewatch.api.asked import MOST, JobsAsked, OneJobAsked, PointsAsked
from tunewatch.api.downsampling import downsampled, narrowed
from tunewatch.api.faults import Ambiguous, NotThere
from tunewatch.api.representing import best_answer, job_answer, point_object
from tunewatch.model import MetricPoint, checkpoint_object
from tunewatch.store.reads import Reader
from tunewatch.store.searching import FoundJob, JobsWanted, Place

MOST_POINTS = 200_000
"""Points that are read to be down-sampled, at most."""


class StoredJobs:
    """The part of `Reading` that is about jobs."""

    def __init__(self, reads: Reader) -> None:
        self.reads = reads

    async def jobs(self, asked: JobsAsked) -> JobList:
        """See `Reading.jobs`."""
        fields = asdict(asked)
        limit, after = fields.pop("limit"), fields.pop("after")
        place = None if after is None else await self._place(after, asked.source)
        wanted = JobsWanted(**fields)
        page = await self.reads.jobs(wanted, limit=limit, after=place)
        return JobList(
            data=tuple(job_answer(one) for one in page.found),
            has_more=page.has_more,
            next=None if page.next is None else cursors.of_place(page.next),
        )

    async def _place(self, after: str, source: str | None) -> Place:
        place = cursors.to_place(after)
        if place is not None:
            return place
        try:
            return (await self.found(after, source)).place
        except NotThere as fault:
            raise NotThere(fault.reason, parameter="after") from None

    async def found(self, job_id: str, source: str | None) -> FoundJob:
        """Return the job of that id. Raises NotThere, Ambiguous."""
        found = await self.reads.find(job_id, source=source)
        if not found:
            where = "" if source is None else f" of source {source}"
            raise NotThere(f"there is no job {job_id}{where}")
        if len(found) > 1:
            sources = sorted(one.source for one in found)
            raise Ambiguous(
                f"job {job_id} is known to more than one source: {', '.join(sources)}",
                sources,
            )
        return found[0]

    async def version(self, job_id: str, asked: OneJobAsked) -> str:
        """Return a word that is another one whenever anything of a job is another."""
        found = await self.found(job_id, asked.source)
        return f"{found.key}-{found.row.revision}-{found.sequence}"

    async def job(self, job_id: str, asked: OneJobAsked) -> JobAnswer:
        """See `Reading.job`."""
        return job_answer(await self.found(job_id, asked.source))

    async def best(self, job_id: str, asked: OneJobAsked) -> BestAnswer:
        """See `Reading.best`."""
        return best_answer(await self.job(job_id, asked))

    async def checkpoints(self, job_id: str, asked: OneJobAsked) -> CheckpointList:
        """See `Reading.checkpoints`."""
        found = await self.found(job_id, asked.source)
        listed = await self.reads.checkpoints(found.key)
        data = tuple(checkpoint_object(one, job_id) for one in listed)
        return CheckpointList(data=data, has_more=False)

    async def points(self, job_id: str, asked: PointsAsked) -> PointList:
        """See `Reading.points`."""
        key = (await self.found(job_id, asked.source)).key
        if asked.downsample is not None:
            every = await self.reads.points(key, after=asked.after, limit=MOST_POINTS)
            fewer = downsampled(every, asked.downsample, metrics=asked.metrics)
            return PointList(data=tuple(map(point_object, fewer)), has_more=False)
        found, has_more = await self._some_points(key, asked)
        return PointList(
            data=tuple(map(point_object, found)),
            has_more=has_more,
            next=str(found[-1].n) if has_more else None,
        )

    async def _some_points(
        self, key: int, asked: PointsAsked
    ) -> tuple[list[MetricPoint], bool]:
        found: list[MetricPoint] = []
        after = asked.after
        while True:
            chunk = await self.reads.points(key, after=after, limit=MOST)
            found += narrowed(chunk, asked.metrics)
            if len(found) > asked.limit:
                return found[: asked.limit], True
            if len(chunk) < MOST:
                return found, False
            after = chunk[-1].n

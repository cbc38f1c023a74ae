"""The endpoints: a request's words turned into an answer.

Knows paths, query keys and error words, and no connection, header or fault.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tunewatch.testing.answers import Answer, Problem
from tunewatch.testing.lives import Act
from tunewatch.testing.pages import Cut, cut, envelope, named_envelope
from tunewatch.testing.projects import Project
from tunewatch.testing.script import BASE_MODELS
from tunewatch.testing.served import ServedJob

if TYPE_CHECKING:
    # The simulated API owns the endpoints; they look back at its state.
    from tunewatch.testing.api import SimulatedApi

_METADATA = re.compile(r"metadata\[(.+)\]")
_PAGES_KEPT = 2_000
_STEERED = {  # act: the statuses in which it is possible
    "cancel": {
        "validating_files",
        "pending",
        "queued",
        "running",
        "pausing",
        "paused",
        "resuming",
    },
    "pause": {"running"},
    "resume": {"paused"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, authenticated: by whom, what, and of which moment."""

    project: Project
    method: str
    path: tuple[str, ...]  #: without `/v1` or `/openai`
    query: Mapping[str, str]
    body: bytes
    now: float
    ascending: bool = False


class Endpoints:
    """Answers for one simulated API."""

    def __init__(self, api: SimulatedApi) -> None:
        self._api = api
        self._pages: OrderedDict[object, bytes] = OrderedDict()

    def answer(self, asked: Asked) -> Answer:
        """Return the true answer. Raises Problem."""
        match asked.method, asked.path:
            case "GET", ("fine_tuning", "jobs"):
                return Answer(body=self._jobs(asked))
            case "POST", ("fine_tuning", "jobs"):
                return Answer(body=self._create(asked))
            case "GET", ("fine_tuning", "jobs", job_id):
                return Answer(body=self._job(asked, job_id).encoded_at(asked.now))
            case "POST", ("fine_tuning", "jobs", job_id, act) if act in _STEERED:
                return Answer(body=self._steer(asked, job_id, act))
            case "GET", ("fine_tuning", "jobs", job_id, "events"):
                return Answer(body=self._events(asked, job_id))
            case "GET", ("fine_tuning", "jobs", job_id, "checkpoints"):
                return Answer(body=self._checkpoints(asked, job_id))
            case "GET", ("files", file_id):
                return Answer(body=self._file(asked, file_id))
            case "GET", ("files", file_id, "content"):
                return self._content(asked, file_id)
            case "GET", ("models",):
                return Answer(body=self._models(asked))
        line = f"{asked.method} /{'/'.join(asked.path)}"
        raise Problem(404, f"Invalid URL ({line})", code="unknown_url")

    def _cut(self, asked: Asked, usual: int) -> Cut:
        given = asked.query.get("limit", str(usual))
        if not given.isdecimal() or int(given) < 1:
            wanted = f"wanted a whole number from 1, found '{given}'"
            raise Problem(400, f"Invalid 'limit': {wanted}.", param="limit")
        limit = min(int(given), self._api.largest_page or int(given))
        return Cut(
            limit=limit, after=asked.query.get("after"), ascending=asked.ascending
        )

    def _jobs(self, asked: Asked) -> bytes:
        jobs, count = asked.project.jobs(asked.now)
        position: Callable[[str], int | None] = asked.project.position
        wanted = _metadata(asked.query)
        if wanted is not None:
            jobs = [
                job
                for job in jobs[:count]
                if _has(job.fields(asked.now).get("metadata"), wanted)
            ]
            count = len(jobs)
            positions = {job.id: place for place, job in enumerate(jobs)}
            position = positions.get
        page = cut(count, self._cut(asked, 20), position)
        without = self._api.list_omits
        chosen = jobs[page.first : page.last]
        bodies = [job.encoded_at(asked.now, without) for job in chosen]
        return envelope(bodies[:: page.step], has_more=page.has_more)

    def _job(self, asked: Asked, job_id: str) -> ServedJob:
        job = asked.project.get(job_id, asked.now)
        if job is None:
            raise Problem(
                404,
                f"Could not find fine tune: {job_id}",
                param="fine_tune_id",
                code="fine_tune_not_found",
            )
        return job

    def _create(self, asked: Asked) -> bytes:
        if not self._api.accepts_jobs:
            raise Problem(
                403,
                "OpenAI is winding down the fine-tuning platform and your organization "
                "is no longer able to create new fine-tuning training jobs.",
                code="training_not_available",
            )
        try:
            wishes = msgspec.json.decode(asked.body, type=dict[str, Any])
        except msgspec.MsgspecError as trouble:
            raise Problem(400, "Could not parse the body as JSON.") from trouble
        for name in ("model", "training_file"):
            if not isinstance(wishes.get(name), str):
                wanted = f"Missing required parameter: '{name}'."
                raise Problem(
                    400, wanted, param=name, code="missing_required_parameter"
                )
        try:
            job = self._api.create_job(asked.project, wishes)
        except (ValueError, TypeError, KeyError, AttributeError) as trouble:
            raise Problem(400, f"Invalid parameters: {trouble}") from trouble
        return job.encoded_at(asked.now)

    def _steer(self, asked: Asked, job_id: str, act: Any) -> bytes:
        job = self._job(asked, job_id)
        status = job.fields(asked.now)["status"]
        if status not in _STEERED[act]:
            raise Problem(
                400,
                f"Job {job_id} is {status}: it cannot be asked to {act} now.",
                code="invalid_status",
            )
        job.act(Act(asked.now, act))
        return job.encoded_at(asked.now)

    def _events(self, asked: Asked, job_id: str) -> bytes:
        job, wanted = self._job(asked, job_id), self._cut(asked, 20)
        entries, count = job.entries(asked.now)
        kept = (job.id, job.number, job.version, count, wanted)
        body = self._pages.get(kept)
        if body is None:
            page = cut(count, wanted, job.entry_position)
            bodies = [entry.encoded() for entry in page.of(entries)]
            body = envelope(bodies, has_more=page.has_more)
            self._pages[kept] = body
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(kept)
        return body

    def _checkpoints(self, asked: Asked, job_id: str) -> bytes:
        job = self._job(asked, job_id)
        items = job.checkpoints(asked.now)
        positions = {item.id: place for place, item in enumerate(items)}
        page = cut(len(items), self._cut(asked, 10), positions.get)
        return named_envelope(page.of(items), has_more=page.has_more)

    def _file(self, asked: Asked, file_id: str) -> bytes:
        return msgspec.json.encode(
            self._api.files.about(asked.project, file_id, asked.now)
        )

    def _content(self, asked: Asked, file_id: str) -> Answer:
        content, plain = self._api.files.content(asked.project, file_id, asked.now)
        return Answer(
            body=content if plain else base64.b64encode(content),
            content_type="application/octet-stream",
            headers={"Content-Disposition": 'attachment; filename="step_metrics.csv"'},
        )

    def _models(self, asked: Asked) -> bytes:
        jobs, count = asked.project.jobs(asked.now)
        tuned = (job.fields(asked.now).get("fine_tuned_model") for job in jobs[:count])
        names = [*BASE_MODELS.values(), *filter(None, tuned)]
        listed = [
            {"id": name, "object": "model", "created": 1744316542, "owned_by": "system"}
            for name in names
        ]
        return msgspec.json.encode({"object": "list", "data": listed})


def _metadata(query: Mapping[str, str]) -> dict[str, str] | None:
    """Return the metadata asked for: {} for jobs without, None for all jobs."""
    if query.get("metadata") == "null":
        return {}
    found = {
        match[1]: value
        for name, value in query.items()
        if (match := _METADATA.fullmatch(name))
    }
    return found or None


def _has(metadata: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    if not wanted:
        return not metadata
    return metadata is not None and wanted.items() <= metadata.items()

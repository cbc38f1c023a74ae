"""One question over HTTP: parameters in, an answer with its tag or a problem out.

Reads one at a time and for a bounded time: the daemon's own reads go on beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import structlog
from aiohttp import web

from tunewatch.api.acting import Acting
from tunewatch.api.asked import OneJobAsked
from tunewatch.api.faults import Ambiguous, Impossible, Mistaken, NotAnswered, NotThere
from tunewatch.api.operations import Action, Operation
from tunewatch.api.stored import Stored
from tunewatch.store.records import StoreFault
from tunewatch.web.guard import BY
from tunewatch.web.problems import problem
from tunewatch.web.v1.conditional import has_already, tag_of, takes
from tunewatch.web.v1.parameters import body_of, parameters

JSON = "application/json"
SLOWEST = 10.0
"""s that an answer may take."""
AGAIN = "2"
"""s after which to ask again while the store is away."""

_log = structlog.get_logger(__name__)

Respond = Callable[[], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers questions, one at a time."""

    slowest: float = SLOWEST
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def operation(
        self, operation: Operation, reading: Stored, request: web.Request
    ) -> web.StreamResponse:
        """Answer a question of the table."""
        asked = parameters(operation.asked, request.query.items())
        job_id = request.match_info.get("id", "")
        tag = None
        if operation.is_of_job:
            # Before the answer is read: if the job moves on in between, the answer is
            # newer than its tag and is asked for once more, never the other way round.
            whose = OneJobAsked(source=getattr(asked, "source", None))
            version = await reading.version(job_id, whose)
            tag = tag_of(f"{request.path_qs} {version}".encode())
            if has_already(request, tag):
                return _unchanged(tag)
        answer = await operation.ask(reading, job_id, asked)
        return tagged(request, msgspec.json.encode(answer), tag)

    async def action(
        self, action: Action, acting: Acting, request: web.Request
    ) -> web.StreamResponse:
        """Have something done of the table."""
        asked = parameters(action.asked, request.query.items())
        body = await body_of(request, action.body)
        if body is None:
            return problem(415, f"wanted a body of {JSON}, or none")
        about = request.match_info.get("id", "")
        by = request.get(BY, f"api:{request.remote}")
        answer = await action.act(replace(acting, by=by), about, asked, body)
        _log.info(
            "operator.asked", what=action.name, about=about, by=by, at=request.remote
        )
        # Without an id nothing was asked for: a dry run, or there is nothing to do.
        status = 200 if answer.id is None else 202
        return web.Response(
            status=status, body=msgspec.json.encode(answer), content_type=JSON
        )

    async def __call__(
        self, request: web.Request, respond: Respond, *, content_type: str = JSON
    ) -> web.StreamResponse:
        """Answer, or say why not as a problem document."""
        if not takes(request, content_type):
            return problem(
                406, f"wanted to answer {content_type}, which Accept refuses"
            )
        try:
            async with asyncio.timeout(self.slowest), self._turn:
                return await respond()
        except TimeoutError:
            return _later(f"no answer within {self.slowest:g} s")
        except NotAnswered as fault:
            return as_problem(fault)
        except StoreFault as fault:
            return _later(fault.reason)


def tagged(
    request: web.Request, body: bytes, tag: str | None = None
) -> web.StreamResponse:
    """Return an answer with its tag, or only that the asker has it already."""
    tag = tag or tag_of(body)
    if has_already(request, tag):
        return _unchanged(tag)
    return web.Response(body=body, content_type=JSON, headers=_kept(tag))


def as_problem(fault: NotAnswered) -> web.Response:
    """Return why a question was not answered as a problem document."""
    match fault:
        case Mistaken(mistakes=mistakes):
            return problem(400, fault.reason, more=_errors(mistakes))
        case Ambiguous(sources=sources):
            how = f"{fault.reason}; say which as source={sources[0]}"
            return problem(409, how, more={"sources": sources})
        case Impossible():
            return problem(409, fault.reason)
        case NotThere(parameter=str(name)):
            told = f"{name}: {fault.reason}"
            return problem(404, told, more=_errors({name: fault.reason}))
        case NotThere():
            return problem(404, fault.reason)
        case _:
            raise AssertionError(fault)


def _errors(mistakes: Mapping[str, str]) -> dict[str, object]:
    """Return the member that names each parameter that is wrong."""
    told = [{"parameter": name, "detail": mistakes[name]} for name in mistakes]
    return {"errors": told}


def _unchanged(tag: str) -> web.Response:
    return web.Response(status=304, headers=_kept(tag))


def _kept(tag: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": "private, no-cache"}


def _later(reason: str) -> web.Response:
    return problem(503, f"{reason}; try again later", headers={"Retry-After": AGAIN})

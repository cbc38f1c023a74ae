"""The server itself: routes, limits and lifetimes.

Sizes and times of every request are bounded. What is not known is a 404, what fails is
logged and told as a problem document without its cause.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from tunewatch.config import Address
from tunewatch.plugin import Answer, Route
from tunewatch.unbidden import going_on
from tunewatch.web.doorkeeper import Text
from tunewatch.web.failures import Failures
from tunewatch.web.guard import PROBES, Guard
from tunewatch.web.handshakes import Handshakes
from tunewatch.web.health import Health
from tunewatch.web.hooks import PATH, Hooks, hook_handler
from tunewatch.web.listener import Listener
from tunewatch.web.passwords import Passwords
from tunewatch.web.problems import problem
from tunewatch.web.rate import Bucket
from tunewatch.web.terms import Terms, TermsFile, are_others_let_in
from tunewatch.web.v1 import Api

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READING = ("GET", "HEAD")
SLOWEST = 10.0  #: s a view may take; a scraper gives up by then
IDLE = 15.0  #: s a connection may be quiet, or take to send its request
LARGEST = 64 * 1024  #: bytes of a request's body
LONGEST_LINE = 32 * 1024  #: bytes: all that the parameters of a question may take
GRACE = 1.0  #: s that answers under way get when the server stops

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class CannotListen(Exception):
    """The address cannot be listened on. `reason` says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@asynccontextmanager
async def serving(
    address: Address,
    *,
    health: Health,
    views: Sequence[Route] = (),
    token: Text | None = None,
    api: Api | None = None,
    failures: Failures | None = None,
    hooks: Hooks | None = None,
    terms: TermsFile | None = None,
    handshakes: Handshakes | None = None,
    idle: float = IDLE,
    slowest: float = SLOWEST,
) -> AsyncIterator[Address]:
    """Serve while open; yields the address it is bound to.

    `views` are the routes of views, looked at for each request: they may become more;
    `token` returns the tokens of operators, a line each, as they are now; `api` answers
    operators, `hooks` takes webhooks; `terms` says how connections begin and who has a
    password.
    `failures` counts wrong tokens, `handshakes` hears of TLS that fails; `idle` and
    `slowest` are limits in seconds. Raises CannotListen.
    """
    terms = terms or TermsFile(None)
    listener = Listener(patience=idle, handshakes=handshakes or Handshakes())
    with Passwords() as passwords:
        guard = Guard(address, token, failures, terms=terms, passwords=passwords)
        app = web.Application(
            middlewares=[_edge(guard, terms, listener)], client_max_size=LARGEST
        )
        app.on_response_prepare.append(_with_headers(terms))
        app.router.add_get("/livez", _livez(health))
        app.router.add_get("/readyz", _readyz(health))
        if api is not None:
            api.attach(app)
        if hooks is not None:
            app.router.add_route("*", PATH, hook_handler(hooks, slowest=slowest))
        app.router.add_route("*", "/{path:.*}", _views(views, slowest))
        terms.adopt = _adopting(listener, terms, api, slowest=slowest)
        async with (
            going_on("web.listener", listener.keep()),
            _listening(app, listener, address, terms, idle=idle) as bound,
        ):
            yield bound


@asynccontextmanager
async def _listening(
    app: web.Application,
    listener: Listener,
    address: Address,
    terms: TermsFile,
    *,
    idle: float,
) -> AsyncIterator[Address]:
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_logger(),
        keepalive_timeout=idle,
        lingering_time=1.0,
        max_line_size=LONGEST_LINE,
        max_field_size=8190,
        handler_cancellation=True,
        shutdown_timeout=GRACE,
    )
    await runner.setup()
    try:
        yield await _bound(listener, runner, address, terms)
    finally:
        listener.close()
        await runner.cleanup()


def _protocols(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("the runner has been set up")
    return runner.server


def _logger() -> logging.Logger:
    """Return where aiohttp tells of what fails below our handlers.

    Requests that are no HTTP fail there: anyone can send them, they may hold anything,
    and nobody has to know.
    """
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_no_bad_request)
    return logger


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


async def _bound(
    listener: Listener, runner: web.AppRunner, address: Address, terms: TermsFile
) -> Address:
    try:
        return await listener.open(_protocols(runner), address, terms.now.context)
    except OSError as error:
        raise CannotListen(
            f"wanted to listen on {address} (daemon.listen); found: "
            f"{(error.strerror or type(error).__name__).lower()}. Another daemon may "
            "run already; name another address or stop it"
        ) from error


def _adopting(
    listener: Listener, terms: TermsFile, api: Api | None, *, slowest: float
) -> Callable[[Terms], Awaitable[None]]:
    """Return what lets other terms count."""

    async def adopt(now: Terms) -> None:
        before = terms.now
        await listener.exchange(now.context)
        if are_others_let_in(before, now):
            ended = listener.send_away(before.context, within=slowest)
            if api is not None:
                api.dismiss()
            structlog.get_logger().info("web_config.sent_away", connections=ended)

    return adopt


def _livez(health: Health) -> Handler:
    async def livez(_request: web.Request) -> web.StreamResponse:
        stuck = list(health.live())
        body = {"status": "stuck" if stuck else "ok", "reasons": stuck}
        return _json(body, status=503 if stuck else 200)

    return livez


def _readyz(health: Health) -> Handler:
    async def readyz(_request: web.Request) -> web.StreamResponse:
        report = health.ready()
        return _json(report, status=200 if report.ready else 503)

    return readyz


def _json(body: object, *, status: int) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
    )


def _views(views: Sequence[Route], slowest: float) -> Handler:
    async def view(request: web.Request) -> web.StreamResponse:
        route = next((one for one in views if one.path == request.path), None)
        if route is None and request.path not in PROBES:
            raise web.HTTPNotFound
        if route is None or request.method not in READING:
            raise web.HTTPMethodNotAllowed(request.method, READING)
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.pop("authorization", None)  # who may read was decided before
        try:
            async with asyncio.timeout(slowest):
                answer = await route.respond(headers)
        except TimeoutError:
            return problem(503, f"no answer within {slowest:g} s; try again later")
        return _answered(answer)

    return view


def _answered(answer: Answer) -> web.Response:
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _edge(
    guard: Guard, terms: TermsFile, listener: Listener
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return what stands around every handler."""
    log, bucket = structlog.get_logger(), Bucket()

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        era = listener.era
        # Whoever asks too often must not get the daemon restarted by its probes.
        if request.path not in PROBES:
            response = _too_often(bucket.wait(terms.now.said.rate_limit))
        if response is None:
            response = await guard.refusal(request)
        if response is None:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _as_problem(error)
            except Exception:
                log.exception("web.defect", path=request.path)
                response = problem(500, "a defect; the daemon's log has the details")
        if era != listener.era:
            response.force_close()  # the last answer on this connection
        return response

    return edge


def _too_often(wait: float) -> web.Response | None:
    if wait <= 0:
        return None
    again = {"Retry-After": str(math.ceil(wait))}
    return problem(429, "too many requests (rate_limit); ask later", headers=again)


def _with_headers(
    terms: TermsFile,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "tunewatch"  # its version is nobody's business
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.update(terms.now.said.http_server_config.headers)

    return add


def _as_problem(error: web.HTTPException) -> web.Response:
    match error:
        case web.HTTPNotFound():
            where = "/readyz, /metrics or /api/v1/openapi.json"
            return problem(404, f"there is nothing here; try {where}")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return problem(405, f"only {allowed}", headers={"Allow": allowed})
        case _:
            return problem(error.status, error.reason)

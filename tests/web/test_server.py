from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tunewatch.config import Address
from tunewatch.plugin import Answer, Route
from tunewatch.web import CannotListen, PartState, Readiness, serving

LOOPBACK = Address("127.0.0.1", 0)
ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - inside of the test's own machine
TOKEN = "token-canary-4711"


class State:
    """A daemon's health that a test sets."""

    def __init__(self) -> None:
        self.stuck: list[str] = []
        self.report = Readiness(ready=True)

    def live(self):
        return self.stuck

    def ready(self):
        return self.report


async def _metrics(headers):
    return Answer(
        body=f"asked by {headers.get('user-agent')}".encode(),
        content_type="text/plain; version=0.0.4; charset=utf-8",
        headers={"X-Own": "1"},
    )


async def _broken(_headers):
    raise LookupError("canary in a defect")


async def _slow(_headers):
    await asyncio.sleep(60)
    raise AssertionError


VIEWS = (
    Route(path="/metrics", respond=_metrics),
    Route(path="/page", respond=_metrics),
    Route(path="/broken", respond=_broken),
    Route(path="/slow", respond=_slow),
)


class Client:
    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self.port = port

    async def ask(self, path: str, method: str = "GET", **headers: str):
        url = f"http://127.0.0.1:{self.port}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, url, headers=named) as response:
            return response.status, response.headers, await response.read()

    async def problem(self, path: str, method: str = "GET", **headers: str):
        status, answered, body = await self.ask(path, method, **headers)
        assert answered["Content-Type"] == "application/problem+json"
        document = json.loads(body)
        assert document["status"] == status
        assert document["title"]
        return status, document["detail"]


@asynccontextmanager
async def client(address=LOOPBACK, *, health=None, **options):
    async with (
        serving(address, health=health or State(), views=VIEWS, **options) as bound,
        aiohttp.ClientSession() as session,
    ):
        yield Client(session, bound.port)


async def test_a_live_daemon_says_so():
    async with client() as web:
        status, headers, body = await web.ask("/livez")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "reasons": []}
    assert headers["Server"] == "tunewatch"
    assert headers["Cache-Control"] == "no-store"


async def test_a_loop_without_progress_is_named():
    state = State()
    state.stuck = ["poll:research made no progress for 90 s"]
    async with client(health=state) as web:
        status, _, body = await web.ask("/livez")
    assert status == 503
    assert json.loads(body)["reasons"] == state.stuck


async def test_readiness_tells_how_every_part_is():
    state = State()
    state.report = Readiness(
        ready=False,
        reasons=["the disk is full"],
        store=PartState(state="down", reason="the disk is full"),
        sources={"research": PartState(state="down", reason="401", since=1.5)},
        plugins={"ops": PartState(state="up")},
    )
    async with client(health=state) as web:
        status, _, body = await web.ask("/readyz")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "reasons": ["the disk is full"],
        "store": {"state": "down", "reason": "the disk is full"},
        "sources": {"research": {"state": "down", "reason": "401", "since": 1.5}},
        "plugins": {"ops": {"state": "up"}},
        "organizations": {},
    }


async def test_readiness_is_asked_anew_each_time():
    state = State()
    async with client(health=state) as web:
        assert (await web.ask("/readyz"))[0] == 200
        state.report = Readiness(ready=False)
        assert (await web.ask("/readyz"))[0] == 503


async def test_a_view_answers_as_it_wants():
    async with client() as web:
        status, headers, body = await web.ask("/metrics", User_Agent="scraper")
    assert status == 200
    assert body == b"asked by scraper"
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["X-Own"] == "1"


async def test_a_broken_view_is_a_problem_without_its_cause():
    async with client() as web:
        status, detail = await web.problem("/broken")
        assert (await web.ask("/livez"))[0] == 200
    assert status == 500
    assert "canary" not in detail


async def test_a_view_that_takes_too_long_is_given_up():
    async with client(slowest=0.05) as web:
        status, detail = await web.problem("/slow")
    assert status == 503
    assert "0.05 s" in detail


@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/metrics/", "/../etc/passwd"])
async def test_what_is_not_there_is_a_problem_document(path):
    async with client() as web:
        status, _ = await web.problem(path)
    assert status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_can_be_changed(method):
    async with client() as web:
        status, _ = await web.problem("/readyz", method)
        _, headers, _ = await web.ask("/readyz", method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:9478", "127.8.8.8:80"]
)
async def test_on_loopback_names_of_this_machine_are_answered(host):
    async with client() as web:
        assert (await web.ask("/metrics", Host=host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil"]
)
async def test_on_loopback_a_rebound_name_is_refused(host):
    async with client() as web:
        for path in ("/metrics", "/livez", "/nowhere"):
            assert (await web.problem(path, Host=host))[0] == 403


async def test_off_loopback_without_a_token_only_probes_and_metrics_answer():
    async with client(ANYWHERE) as web:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await web.ask(path, Host="pod.example"))[0] == 200
        for path in ("/page", "/api/v1/jobs", "/", "/nowhere"):
            assert (await web.problem(path))[0] == 403


async def test_off_loopback_the_token_opens_the_rest():
    tokens = [TOKEN]
    async with client(ANYWHERE, token=lambda: tokens[-1]) as web:
        assert (await web.problem("/page"))[0] == 401
        for wrong in ("Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer "):
            status, detail = await web.problem("/page", Authorization=wrong)
            assert status == 401
            assert TOKEN not in detail
        right = f"Bearer {TOKEN}"
        assert (await web.ask("/page", Authorization=right))[0] == 200
        tokens.append("rotated-token")
        assert (await web.problem("/page", Authorization=right))[0] == 401


async def test_an_address_in_use_says_what_to_do():
    async with serving(LOOPBACK, health=State()) as bound:
        with pytest.raises(CannotListen, match=r"daemon\.listen.*address already in"):
            async with serving(bound, health=State()):
                pass


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Drip: "],
    ids=["nothing", "half a request"],
)
async def test_a_connection_that_sends_no_request_is_closed(sent):
    async with client(idle=0.2) as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_header_without_end_is_refused(caplog):
    async with client() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 65536)
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"Traceback" not in answer
    assert caplog.records == []  # anyone could fill the log


async def test_a_stop_does_not_wait_for_an_answer_that_hangs():
    entered = asyncio.Event()

    async def hang(_headers):
        entered.set()
        await asyncio.sleep(60)
        raise AssertionError

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:

        async def ask(port: int) -> None:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/hang")

        async with asyncio.TaskGroup() as tasks:
            hanging = Route(path="/hang", respond=hang)
            async with serving(LOOPBACK, health=State(), views=[hanging]) as bound:
                tasks.create_task(ask(bound.port), name="ask")
                await entered.wait()
                stopping = loop.time()
            assert loop.time() - stopping < 4

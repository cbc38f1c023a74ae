"""Who may ask what: every path with every kind of token, and pages of other sites."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from support.operator_api import Operator, operator_api
from tunewatch.api.operations import ACTIONS, OPERATIONS, ROOT, SPECIAL
from tunewatch.config import Address, Secret
from tunewatch.config.tokens import line_of
from tunewatch.web.failures import AT_ONCE, EACH, KNOWN, Failures
from tunewatch.web.guard import OPEN

ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - inside of the test's own machine
TOKEN = "token-canary-4711"
PATHS = [
    *("//livez", "//readyz", "//", "//nowhere", "//page"),
    *(one.path.replace("{id}", "a") for one in (*OPERATIONS, *ACTIONS, *SPECIAL)),
]
TOKENS = {
    "none": {},
    "wrong": {"Authorization": "Bearer x"},
    "longer": {"Authorization": f"Bearer {TOKEN}x"},
    "as a password": {"Authorization": f"Basic {TOKEN}"},
    "right": {"Authorization": f"Bearer {TOKEN}"},
    "right, otherwise written": {"Authorization": f"bearer  {TOKEN} "},
}


def patient():
    """Return options with a token that may be guessed for as long as one likes."""
    return {
        "token": lambda: TOKEN,
        "failures": Failures(itertools.count(0, 60).__next__),
    }


@asynccontextmanager
async def served(tmp_path, **options):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with operator_api(url, **options) as operator:
        await operator.filling.job("a")
        yield operator


async def status_of(operator: Operator, path: str, method: str, **headers: str) -> int:
    """Return the status alone: a stream would not end."""
    whole = path[1:] if path.startswith("//") else ROOT + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with operator.session.request(
        method, operator.url + whole, headers=named
    ) as answer:
        if answer.status in {401, 403}:
            assert answer.content_type == "application/problem+json"
            assert TOKEN not in await answer.text()
        return answer.status


@pytest.mark.parametrize("given", TOKENS)
async def test_off_loopback_only_the_right_token_opens_a_path(tmp_path, given):
    async with served(tmp_path, address=ANYWHERE, **patient()) as operator:
        for path in PATHS:
            for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
                status = await status_of(operator, path, method, **TOKENS[given])
                if path[1:] in OPEN or given.startswith("right"):
                    assert status not in {401, 403}, (method, path)
                else:
                    assert status == 401, (method, path)


@pytest.mark.parametrize("given", TOKENS)
async def test_off_loopback_without_a_token_everything_is_closed(tmp_path, given):
    async with served(tmp_path, address=ANYWHERE) as operator:
        for path in PATHS:
            if path[1:] not in OPEN:
                assert await status_of(operator, path, "GET", **TOKENS[given]) == 403


@pytest.mark.parametrize("given", TOKENS)
async def test_on_loopback_reading_is_open_and_the_rest_is_not(tmp_path, given):
    async with served(tmp_path, **patient()) as operator:
        for path in PATHS:
            for method in ("GET", "HEAD"):
                status = await status_of(operator, path, method, **TOKENS[given])
                assert status not in {401, 403}, (method, path)
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                status = await status_of(operator, path, method, **TOKENS[given])
                if path[1:] in OPEN or given.startswith("right"):
                    assert status not in {401, 403}, (method, path)
                else:
                    assert status == 401, (method, path)


async def test_on_loopback_without_a_token_nothing_can_be_done(tmp_path):
    async with served(tmp_path) as operator:
        told = await operator.problem("/jobs", "POST")
        assert told["status"] == 403
        assert "daemon.api_token_file" in told["detail"]


HERE = "http://127.0.0.1:{port}"
BROWSERS = {
    "a page of ours": ({"Origin": HERE}, 200),
    "a page of ours, without Origin": ({"Sec-Fetch-Site": "same-origin"}, 200),
    "typed in": ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    "a link": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    "another site": ({"Origin": "https://evil.example"}, 403),
    "another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "our name in theirs": ({"Origin": f"{HERE}.evil.example"}, 403),
    "nowhere": ({"Origin": "null"}, 403),
    "nothing": ({"Origin": ""}, 403),
    "a script element": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a neighbour": ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
}


@pytest.mark.parametrize("browser", BROWSERS)
async def test_a_page_of_another_site_can_read_nothing(tmp_path, browser):
    headers, expected = BROWSERS[browser]
    async with served(tmp_path) as operator:
        named = {key: v.format(port=operator.port) for key, v in headers.items()}
        for path in ("/jobs", "/jobs/a", "//readyz"):
            assert await status_of(operator, path, "GET", **named) == expected
        reply = await operator.ask("/jobs", **named)
        assert "Access-Control-Allow-Origin" not in reply.headers


async def test_a_page_of_another_site_can_do_nothing_even_with_a_token(tmp_path):
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with served(tmp_path, token=lambda: TOKEN) as operator:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ):
            assert await status_of(operator, "/jobs", "POST", **headers, **token) == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]"]
)
async def test_a_rebound_name_is_refused_on_every_path(tmp_path, host):
    async with served(tmp_path) as operator:
        for path in PATHS:
            assert await status_of(operator, path, "GET", Host=host) == 403


async def test_guessing_a_token_is_slowed_down_and_nobody_else_is(tmp_path):
    async with served(tmp_path, address=ANYWHERE, token=lambda: TOKEN) as operator:
        wrong = {"Authorization": "Bearer guess"}
        for _ in range(AT_ONCE):
            assert await status_of(operator, "/jobs", "GET", **wrong) == 401
        told = await operator.ask("/jobs", **wrong)
        assert told.status == 429
        assert int(told.headers["Retry-After"]) >= 1
        assert (await operator.ask("//livez")).status == 200
        assert (await operator.problem("/jobs"))["status"] == 401  # it did not guess


READER, ACTOR, WHOLE = "token-of-reader", "token-of-actor", "token-of-both"
LINES = "\n".join(
    (
        line_of(READER, name="reader", scopes=frozenset({"read"})),
        line_of(ACTOR, name="actor", scopes=frozenset({"act"})),
        line_of(WHOLE, name="both", scopes=frozenset({"read", "act"})),
        TOKEN,
    )
)
OLD = line_of("old-token", name="old", scopes=frozenset({"read"}))
OPENED = {READER: {"GET"}, ACTOR: {"POST"}, WHOLE: {"GET", "POST"}}
OPENED[TOKEN] = OPENED[WHOLE]


@pytest.mark.parametrize("token", OPENED)
async def test_a_token_opens_what_its_scopes_say_on_every_path(tmp_path, token):
    options = {**patient(), "token": lambda: LINES}
    bearer = {"Authorization": f"Bearer {token}"}
    async with served(tmp_path, address=ANYWHERE, **options) as operator:
        for path in PATHS:
            if path[1:] in OPEN:
                continue
            for method, scope in (
                *(("GET", "read"), ("HEAD", "read"), ("POST", "act")),
                *(("DELETE", "act"), ("OPTIONS", "act")),
            ):
                status = await status_of(operator, path, method, **bearer)
                opened = OPENED[token] & {{"read": "GET", "act": "POST"}[scope]}
                assert (status == 403) == (not opened), (method, path)
                assert status != 401


async def test_who_lacks_a_scope_is_told_which_and_is_no_guesser(tmp_path):
    options = {"token": lambda: LINES}
    reader = {"Authorization": f"Bearer {READER}"}
    async with served(tmp_path, address=ANYWHERE, **options) as operator:
        for _ in range(AT_ONCE + 1):
            reply = await operator.ask("/plugins/ops/pause", "POST", **reader)
            assert reply.status == 403
        assert (
            "needs a token with the scope act; reader has read" in reply.json["detail"]
        )
        assert 'scope="act"' in reply.headers["WWW-Authenticate"]
        assert (await operator.ask("/jobs", **reader)).status == 200
        assert await operator.store.requests.pending(["pause"]) == []


async def test_on_loopback_a_token_to_read_does_nothing_either(tmp_path):
    async with served(tmp_path, token=lambda: LINES) as operator:
        for token, status in ((READER, 403), (ACTOR, 202)):
            key = {"Authorization": f"Bearer {token}"}
            reply = await operator.ask("/plugins/ops/resume", "POST", **key)
            assert reply.status == status


async def test_tokens_come_and_go_while_it_runs(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(OLD)
    options = {"address": ANYWHERE, "token": Secret.from_file(file).get}
    with capture_logs() as log:
        async with served(tmp_path, **options) as operator:
            await _rotated(file.write_text, operator)
    refused = [one for one in log if one["event"] == "token.refused"]
    assert [one["line"] for one in refused] == [2]
    assert "secret-slip" not in str(log)


async def _rotated(write: Callable[[str], object], operator: Operator) -> None:
    async def opened() -> list[bool]:
        keys = ({"Authorization": f"Bearer {one}"} for one in ("old-token", "new"))
        replies = [await operator.ask("/jobs", **key) for key in keys]
        return [reply.status == 200 for reply in replies]

    assert await opened() == [True, False]
    write(f"{OLD}\nnew\n")
    assert await opened() == [True, True]
    write("new\nno secret-slip\n")
    assert await opened() == [False, True]
    write("# nobody\n")
    told = await operator.problem("/jobs", Authorization="Bearer new")
    assert "name a token in daemon.api_token_file" in told["detail"]


async def test_a_token_that_is_no_text_is_only_wrong(tmp_path):
    async with served(tmp_path, address=ANYWHERE, token=lambda: TOKEN) as operator:
        wrong = {"Authorization": "Bearer \udcff\udc80"}
        assert await status_of(operator, "/jobs", "GET", **wrong) == 401


class Hand:
    """A clock in the hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_each_second_one_more_failure_is_allowed():
    clock = Hand()
    failures = Failures(clock)
    for _ in range(AT_ONCE):
        assert failures.wait("10.0.0.1") == 0
        failures.note("10.0.0.1")
    assert failures.wait("10.0.0.1") == EACH
    assert failures.wait("10.0.0.2") == 0
    clock.at += EACH
    assert failures.wait("10.0.0.1") == 0
    failures.note("10.0.0.1")
    assert failures.wait("10.0.0.1") == EACH
    clock.at += 2 * AT_ONCE * EACH
    for _ in range(AT_ONCE):
        assert failures.wait("10.0.0.1") == 0
        failures.note("10.0.0.1")


def test_a_whole_network_of_version_6_is_one_guesser():
    failures = Failures(Hand())
    for n in range(AT_ONCE):
        failures.note(f"2001:db8::{n}")
    assert failures.wait("2001:db8::ffff") > 0
    assert failures.wait("2001:db8:0:1::1") == 0


def test_what_is_remembered_of_failures_is_bounded():
    failures = Failures(Hand())
    for _ in range(AT_ONCE):
        failures.note("10.1.1.1")
    for n in range(KNOWN):
        failures.note(f"10.2.{n // 256}.{n % 256}")
    assert failures.wait("10.1.1.1") == 0  # forgotten, the oldest first

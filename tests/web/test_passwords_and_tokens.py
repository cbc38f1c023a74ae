"""Names with passwords beside tokens: every path with none, a wrong and a right one."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from contextlib import asynccontextmanager

import pytest

from support.operator_api import ROOT, operator_api
from support.web_files import basic, hashed, write
from tunewatch.api.operations import ACTIONS, OPERATIONS, SPECIAL
from tunewatch.config import Address
from tunewatch.config.tokens import line_of
from tunewatch.web import TermsFile
from tunewatch.web.failures import AT_ONCE, Failures
from tunewatch.web.guard import PROBES
from tunewatch.web.passwords import WAITING, Busy, Passwords

ANYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - inside of the test's own machine
LOOPBACK = Address("127.0.0.1", 0)
PATHS = [
    *("//livez", "//readyz", "//metrics", "//", "//nowhere", "//page"),
    *(one.path.replace("{id}", "a") for one in (*OPERATIONS, *ACTIONS, *SPECIAL)),
]
PASSWORD = "canary of ann"
READER, ACTOR = "token-of-reader", "token-of-actor"
LINES = "\n".join(
    (
        line_of(READER, name="reader", scopes=frozenset({"read"})),
        line_of(ACTOR, name="actor", scopes=frozenset({"act"})),
    )
)
READS, ACTS = ("GET", "HEAD"), ("POST", "PUT", "DELETE", "OPTIONS")
GIVEN = {
    "none": ({}, 401, 401),
    "a wrong password": (basic("ann", "x"), 401, 403),
    "nobody's password": (basic("bob", PASSWORD), 401, 403),
    "no password": (basic("ann", ""), 401, 403),
    "no name": (basic("", PASSWORD), 401, 403),
    "no base64": ({"Authorization": "Basic §"}, 401, 403),
    "the hash": (None, 401, 403),
    "a wrong token": ({"Authorization": "Bearer x"}, 401, 401),
    "another scheme": ({"Authorization": "Digest x"}, 401, 401),
    "the right password": (basic("ann", PASSWORD), 0, 403),
    "the right token to read": ({"Authorization": f"Bearer {READER}"}, 0, 403),
    "the right token to act": ({"Authorization": f"Bearer {ACTOR}"}, 403, 0),
}
"""What is sent, and the status of reading and of acting; 0: neither 401 nor 403."""


@pytest.fixture(scope="module")
def ann() -> dict[str, str]:
    return {"ann": hashed(PASSWORD)}


@asynccontextmanager
async def served(tmp_path, users, **options):
    file = write(tmp_path / "web.yml", basic_auth_users=users)
    url = f"sqlite:///{tmp_path / 'state.db'}"
    terms = TermsFile(file)
    async with operator_api(url, terms=terms, **options) as operator:
        await operator.filling.job("a")
        yield operator


async def status_of(operator, path, method, headers) -> int:
    """Return the status alone: a stream would not end."""
    whole = path[1:] if path.startswith("//") else ROOT + path
    async with operator.session.request(
        method, operator.url + whole, headers=headers
    ) as answer:
        if answer.status in {401, 403}:
            text = await answer.text()
            assert PASSWORD not in text
            assert answer.content_type == "application/problem+json"
        if answer.status == 401:
            asked = answer.headers.getall("WWW-Authenticate")
            assert ('Basic realm="tunewatch", charset="UTF-8"' in asked) == (
                method in READS
            )
            assert 'Bearer realm="tunewatch"' in asked
        return answer.status


@pytest.mark.parametrize("address", [ANYWHERE, LOOPBACK], ids=["anywhere", "loopback"])
async def test_every_path_asks_for_a_password_or_a_token(tmp_path, ann, address):
    patient = Failures(itertools.count(0, 60).__next__)
    options = {"address": address, "token": lambda: LINES, "failures": patient}
    async with served(tmp_path, ann, **options) as operator:
        for name, (headers, reading, acting) in GIVEN.items():
            sent = basic("ann", ann["ann"]) if headers is None else headers
            for path, method in itertools.product(PATHS, READS + ACTS):
                status = await status_of(operator, path, method, sent)
                wanted = reading if method in READS else acting
                if path[1:] in PROBES:
                    wanted = 0
                met = status not in {401, 403} if wanted == 0 else status == wanted
                assert met, (name, method, path, status)


async def test_without_tokens_a_password_reads_and_nothing_acts(tmp_path, ann):
    async with served(tmp_path, ann, address=ANYWHERE) as operator:
        right = basic("ann", PASSWORD)
        assert (await operator.ask("/jobs", **right)).status == 200
        told = await operator.problem("/plugins/ops/pause", "POST", **right)
        assert told["status"] == 403
        assert "token with act" in told["detail"]
        told = await operator.problem("/plugins/ops/pause", "POST")
        assert told["status"] == 403
        assert "daemon.api_token_file" in told["detail"]
        assert (await operator.ask("/jobs")).status == 401


async def test_a_page_of_another_site_cannot_use_the_password_of_a_browser(
    tmp_path, ann
):
    right = basic("ann", PASSWORD)
    async with served(tmp_path, ann) as operator:
        for forged in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "evil.example"},
        ):
            for path in ("/jobs", "//metrics", "//"):
                status = await status_of(operator, path, "GET", {**right, **forged})
                assert status == 403, (forged, path)


async def test_guessing_passwords_is_slowed_down_and_who_was_right_is_not(
    tmp_path, ann
):
    right, wrong = basic("ann", PASSWORD), basic("ann", "guess")
    async with served(tmp_path, ann, address=ANYWHERE) as operator:
        assert (await operator.ask("/jobs", **right)).status == 200
        for _ in range(AT_ONCE):
            assert (await operator.ask("/jobs", **wrong)).status == 401
        told = await operator.ask("/jobs", **wrong)
        assert told.status == 429
        assert int(told.headers["Retry-After"]) >= 1
        assert (await operator.ask("/jobs", **right)).status == 200
        assert (await operator.ask("//livez")).status == 200


async def test_who_hangs_up_while_a_password_is_looked_at_is_slowed_down_too(
    tmp_path,
):
    users, wrong = {"ann": hashed(PASSWORD, cost=10)}, basic("ann", "guess")
    head = "".join(f"{name}: {value}\r\n" for name, value in wrong.items())
    asked = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()

    async with served(tmp_path, users) as operator:

        async def is_slowed_down() -> bool:
            _, writer = await asyncio.open_connection("127.0.0.1", operator.port)
            writer.write(asked)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return (await operator.ask("//metrics", **wrong)).status == 429

        tried = [await is_slowed_down() for _ in range(AT_ONCE)]
        assert any(tried), "who hung up was overlooked"


async def test_a_slow_hash_does_not_hold_up_the_loop():
    users = {"ann": hashed("right", cost=11)}
    with Passwords() as passwords:
        async with asyncio.TaskGroup() as tasks:
            looked = tasks.create_task(passwords.are_right(users, "ann", b"right"))
            await asyncio.sleep(0)
            turns = 0
            while not looked.done():
                await asyncio.sleep(0.001)
                turns += 1
        assert looked.result()
        assert turns > 10, "the loop stood still while the hash was computed"
        assert passwords.remembers(users, "ann", b"right")


async def test_no_more_than_some_passwords_wait():
    users = {"ann": hashed("right", cost=7)}
    with Passwords() as passwords:
        async with asyncio.TaskGroup() as tasks:
            for number in range(WAITING):
                guess = str(number).encode()
                tasks.create_task(passwords.are_right(users, "ann", guess))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await passwords.are_right(users, "ann", b"one more")
        assert await passwords.are_right(users, "ann", b"right")


async def test_a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has():
    users = {"ann": hashed("right", cost=8)}
    with Passwords() as passwords:
        took: dict[str, list[float]] = {"ann": [], "bob": []}
        for name in ["ann", "bob"] * 5:
            began = time.perf_counter()
            assert not await passwords.are_right(users, name, b"wrong")
            took[name].append(time.perf_counter() - began)
    ann, bob = (statistics.median(one) for one in took.values())
    assert 0.1 < ann / bob < 10  # without a hash it would be a thousand times


async def test_what_was_right_is_forgotten_with_its_hash():
    users = {"ann": hashed("old")}
    with Passwords() as passwords:
        assert await passwords.are_right(users, "ann", b"old")
        assert passwords.remembers(users, "ann", b"old")
        assert not passwords.remembers(users, "ann", b"new")
        assert not passwords.remembers({"ann": hashed("old")}, "ann", b"old")
        assert not passwords.remembers({"bob": users["ann"]}, "ann", b"old")
        assert not passwords.remembers({"bob": users["ann"]}, "bob", b"old")


@pytest.mark.parametrize("form", ["2a", "2b", "2y"])
async def test_hashes_of_every_program_are_understood(form):
    kept = hashed("pässword").replace("$2b$", f"${form}$")
    with Passwords() as passwords:
        assert await passwords.are_right({"ann": kept}, "ann", "pässword".encode())
        assert not await passwords.are_right({"ann": kept}, "ann", b"password")


async def test_of_a_long_password_the_first_72_bytes_count_and_zeros_are_no_end():
    users = {"ann": hashed("x" * 72), "bob": hashed("a")}
    with Passwords() as passwords:
        assert await passwords.are_right(users, "ann", b"x" * 100)
        assert not await passwords.are_right(users, "ann", b"x" * 71)
        assert not await passwords.are_right(users, "bob", b"a\0b")

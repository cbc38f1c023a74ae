from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from support.loopback import alone
from support.scripted_api import (
    Reply,
    ScriptedAPI,
    Watched,
    answer,
    job,
    listing,
    scripted_api,
    source_at,
)
from tunewatch.sources.contract import (
    Missing,
    Refused,
    SourceFault,
    Unavailable,
    Unreadable,
)

HTML = Reply(
    body=b"<html><body>Please log in</body></html>",
    headers={"content-type": "text/html; charset=utf-8"},
)


async def fault_of(reply: Reply, **options: float) -> SourceFault:
    """Return the fault that a list answer of this kind raises.

    The first request with a key is the client's own, those that follow are made after
    it: both must tell of the same fault.
    """
    faults: list[SourceFault] = []
    async with scripted_api() as api, source_at(api.base_url, **options) as it:
        for answers in (reply, listing(), reply):
            api.says("/fine_tuning/jobs", answers)
            try:
                await it.source.list_jobs(after=None, limit=100)
            except SourceFault as fault:
                faults.append(fault)
        first, second = faults
        kind = type(first).__name__.lower()
        assert [call.outcome for call in it.calls] == [kind, "ok", kind]
    assert (type(first), str(first)) == (type(second), str(second))
    return second


LATER = pytest.mark.parametrize("is_later", [False, True], ids=["first", "later"])


async def ask_before(api: ScriptedAPI, it: Watched) -> None:
    """Make the request that those which follow go out like."""
    api.says("/fine_tuning/jobs", listing())
    await it.source.list_jobs(after=None, limit=1)


def error(status: int, message: str = "no", **fields: object) -> Reply:
    headers = fields.pop("headers", {})
    body = {"error": {"message": message, "type": "x", "param": None, **fields}}
    return answer(body, status=status, headers=headers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Unreadable),
        (400, Unreadable),
        (401, Refused),
        (402, Refused),
        (403, Refused),
        (404, Missing),
        (407, Refused),
        (408, Unavailable),
        (409, Unavailable),
        (410, Missing),
        (415, Unreadable),
        (422, Unreadable),
        (425, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (529, Unavailable),
    ],
)
async def test_a_status_says_what_can_be_done(
    status: int, kind: type[SourceFault]
) -> None:
    fault = await fault_of(error(status))
    assert type(fault) is kind
    assert f"for jobs: {status}" in fault.reason


async def test_a_refusal_names_the_code_the_words_and_what_to_check() -> None:
    fault = await fault_of(error(401, "This key is not allowed", code="bad_key"))
    assert "(bad_key: This key is not allowed)" in fault.reason
    assert "check the key of this source" in fault.reason


async def test_a_redirect_is_not_followed_and_says_what_to_do() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/other", answer({"data": []}))
        api.says(
            "/fine_tuning/jobs",
            Reply(status=308, headers={"location": f"{api.base_url}/other"}),
        )
        with pytest.raises(Unreadable, match="put the final address in base_url"):
            await it.source.list_jobs(after=None, limit=1)
        assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        (
            {
                "date": "Fri, 09 Aug 2024 12:53:33 GMT",
                "retry-after": "Fri, 09 Aug 2024 12:55:33 GMT",
            },
            120.0,
        ),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "Fri, 09 Aug 2019 12:55:33 GMT"}, 0.0),
        ({"retry-after": "86401000"}, 86400.0),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
async def test_an_answer_may_say_how_long_to_wait(
    headers: dict[str, str], after: float | None
) -> None:
    fault = await fault_of(error(429, headers=headers))
    assert isinstance(fault, Unavailable)
    assert fault.after == after


async def test_an_error_page_of_a_proxy_is_an_api_in_trouble() -> None:
    fault = await fault_of(Reply(status=502, body=HTML.body, headers=HTML.headers))
    assert isinstance(fault, Unavailable)
    assert "log in" not in fault.reason


async def test_a_login_page_with_status_200_is_unreadable_and_hints_at_it() -> None:
    fault = await fault_of(HTML)
    assert isinstance(fault, Unreadable)
    assert "came as text/html" in fault.reason
    assert "check base_url" in fault.reason
    assert "log in" not in fault.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"null",
        b"17",
        b'"text"',
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": [{"id": "ftjob-1"',
        b'{"data": [',
        b"[" * 100_000,
        b'{"data": [' + b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
)
async def test_a_body_that_is_no_list_is_unreadable(body: bytes) -> None:
    fault = await fault_of(Reply(body=body))
    assert isinstance(fault, Unreadable)
    assert "ftjob-1" not in fault.reason


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"id": 3}', b"<html>", b'{"id": ""}'])
async def test_a_job_answer_without_an_id_is_unreadable(body: bytes) -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs/ftjob-1", Reply(body=body))
        with pytest.raises(Unreadable):
            await it.source.retrieve_job("ftjob-1")


async def test_a_refused_connection_is_called_one() -> None:
    async with AsyncExitStack() as opened:
        async with scripted_api() as api:
            first, later = [
                await opened.enter_async_context(source_at(api.base_url))
                for _ in range(2)
            ]
            await ask_before(api, later)
        for it in (first, later):
            with pytest.raises(Unavailable, match="connection refused"):
                await it.source.list_jobs(after=None, limit=1)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(drop=True), "closed before the answer was complete"),
        (Reply(body=b'{"data": []}', cut=True), "ended before it was complete"),
    ],
)
async def test_a_broken_connection_is_unavailable(reply: Reply, words: str) -> None:
    fault = await fault_of(reply)
    assert isinstance(fault, Unavailable)
    assert words in fault.reason


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hang=True),
        Reply(body=b'{"data": []}' + b" " * 1000, drip=0.02),
        Reply(status=500, body=b"x" * 1000, drip=0.02),
    ],
    ids=["silent", "dripping", "dripping error"],
)
async def test_an_answer_has_a_limit_of_time_in_all(reply: Reply) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    fault = await fault_of(reply, timeout=0.4)
    assert isinstance(fault, Unavailable)
    assert loop.time() - began < 5


@LATER
async def test_an_endless_answer_is_left_when_it_is_too_large(is_later: bool) -> None:
    async with scripted_api() as api, source_at(api.base_url, timeout=60) as it:
        if is_later:
            await ask_before(api, it)
        api.says("/fine_tuning/jobs", Reply(body=b" " * 65536, endless=True))
        with pytest.raises(Unreadable, match="larger than 16777216 bytes"):
            await it.source.list_jobs(after=None, limit=1)
        async with asyncio.timeout(20):
            await api.gone.wait()


@LATER
async def test_an_endless_error_is_not_read_to_its_end(is_later: bool) -> None:
    async with scripted_api() as api, source_at(api.base_url, timeout=60) as it:
        if is_later:
            await ask_before(api, it)
        api.says("/fine_tuning/jobs", Reply(status=503, body=b"x" * 4096, endless=True))
        with pytest.raises(Unavailable, match="503"):
            await it.source.list_jobs(after=None, limit=1)
        async with asyncio.timeout(20):
            await api.gone.wait()


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_left() -> None:
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    fault = await fault_of(Reply(body=bomb, headers={"content-encoding": "gzip"}))
    assert isinstance(fault, Unreadable)
    assert "larger than" in fault.reason


async def test_a_packed_answer_is_unpacked_and_a_broken_one_is_unreadable() -> None:
    fault = await fault_of(
        Reply(body=b"not gzip at all", headers={"content-encoding": "gzip"})
    )
    assert isinstance(fault, Unreadable)
    async with scripted_api() as api, source_at(api.base_url) as it:
        packed = gzip.compress(b'{"data": [{"id": "ftjob-1"}]}')
        api.says(
            "/fine_tuning/jobs",
            Reply(body=packed, headers={"content-encoding": "gzip"}),
        )
        for _ in range(2):
            page = await it.source.list_jobs(after=None, limit=1)
            assert [item.raw for item in page.items] == [b'{"id": "ftjob-1"}']


@asynccontextmanager
async def saying(*said: bytes) -> AsyncIterator[str]:
    """Open a server that says these bytes, HTTP or not, the last ones to all others."""
    left = list(said)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"


FINE = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'a\r\n{"data": [\r\nd\r\n{"id": "a"}]}\r\n0\r\n\r\n'
)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x00\x01\x02",
        b"",
    ],
    ids=["ssh", "bad length", "bad chunk", "long header", "binary", "nothing"],
)
async def test_something_that_speaks_no_http_is_unavailable(said: bytes) -> None:
    reasons = set()
    for earlier in ([], [FINE]):
        async with saying(*earlier, said) as address, source_at(address) as it:
            for _ in earlier:
                await it.source.list_jobs(after=None, limit=1)
            with pytest.raises(Unavailable) as raised:
                await it.source.list_jobs(after=None, limit=1)
            reasons.add(str(raised.value).replace(address.removesuffix("/v1"), ""))
    assert len(reasons) == 1


async def test_an_answer_of_no_said_length_is_read_to_its_end() -> None:
    async with saying(FINE) as address, source_at(address) as it:
        for _ in range(2):
            assert (await it.source.list_jobs(after=None, limit=1)).count == 1


def test_a_host_that_is_not_known_is_called_so() -> None:
    # On its own, because whoever resolves a name asks a server somewhere.
    said = alone("support.ask_for_jobs", ["http://no-such-host.invalid/v1"])
    assert said == (
        "Unavailable: asked http://no-such-host.invalid for jobs: "
        "its name cannot be resolved\n"
    )


async def test_one_trouble_does_not_outlive_its_request() -> None:
    async with scripted_api() as api, source_at(api.base_url) as it:
        api.says("/fine_tuning/jobs/ftjob-1", HTML, error(500), answer(job()))
        outcomes = []
        for _ in range(3):
            try:
                await it.source.retrieve_job("ftjob-1")
            except SourceFault as fault:
                outcomes.append(type(fault))
        assert outcomes == [Unreadable, Unavailable]
        assert [call.outcome for call in it.calls] == [
            "unreadable",
            "unavailable",
            "ok",
        ]
        assert [call.status for call in it.calls] == [200, 500, 200]

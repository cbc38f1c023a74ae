"""Clients with whom TLS is not agreed upon: told why, on both loops."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import resource
import socket
import ssl
from contextlib import contextmanager, suppress

import pytest
from structlog.testing import capture_logs

from support.certificates import Authority
from support.running import eventually
from support.tls_server import answer, asked, tls_server
from support.web_files import tls_of, trusting, write
from tunewatch.telemetry.families import HANDSHAKES
from tunewatch.web.handshakes import ADVICE

CANARY = "canary-of-a-client"


pytestmark = pytest.mark.both_loops


@pytest.fixture(scope="module")
def shown(tmp_path_factory, authority):
    """The certificates that clients show."""
    past = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    stranger = Authority.founded(tmp_path_factory.mktemp("stranger"))
    return {
        "right": authority.issue("prometheus.example", stem="right-"),
        "expired": authority.issue("prometheus.example", stem="expired-", ends=past),
        "strange": stranger.issue(CANARY),
    }


@pytest.fixture
def file(tmp_path, authority, papers):
    """A web configuration that demands a certificate."""
    return write(
        tmp_path / "web.yml",
        tls_server_config=tls_of(
            papers,
            client_auth_type="RequireAndVerifyClientCert",
            client_ca_file=str(authority.certificate),
            min_version="TLS13",
        ),
    )


def without_trust(_papers, shown):
    return trusting(shown["strange"], shows=shown["right"])


def too_old(papers, shown):
    trust = trusting(papers, shows=shown["right"])
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    return trust


CLIENTS = {
    "certificate_missing": lambda papers, _: trusting(papers),
    "certificate_expired": lambda papers, shown: trusting(
        papers, shows=shown["expired"]
    ),
    "certificate_refused": lambda papers, shown: trusting(
        papers, shows=shown["strange"]
    ),
    "refused_by_client": without_trust,
    "nothing_in_common": too_old,
    "plain_http": f"GET /{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\n\r\n",
    "no_tls": f"SSH-2.0-{CANARY}\r\n",
}


async def hang_up(server, trust) -> None:
    """Begin a handshake, wait for what the server says, and go without a word."""
    _, writer = await half_a_handshake(server, trust)
    writer.close()
    await writer.wait_closed()


async def half_a_handshake(server, trust):
    reader, writer = await server.connect()
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(come, go, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    writer.write(go.read())
    assert await reader.read(64 * 1024)
    return reader, writer


async def fail(server, client) -> None:
    """Come with what does not do, until the connection ends."""
    if isinstance(client, ssl.SSLContext):
        await asyncio.to_thread(by_tls, server.port, client)
        return
    reader, writer = await server.connect()
    writer.write(client.encode())
    with suppress(OSError):
        async with asyncio.timeout(20):
            assert await reader.read() == b""
    writer.close()


def by_tls(port, trust) -> None:
    """Come as most clients do: asyncio's own does not tell why it hangs up."""
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.recv(1) == b""


@pytest.mark.parametrize("reason", CLIENTS)
async def test_why_it_fails_is_counted_and_said_with_what_to_do(
    file, papers, shown, reason
):
    client = CLIENTS[reason]
    if not isinstance(client, str):
        client = client(papers, shown)
    with capture_logs() as log:
        async with tls_server(file, idle=0.5) as server:
            for _ in range(3):
                await fail(server, client)
            await eventually(lambda: server.failed.total() == 3, "all were counted")
            assert server.failed == {reason: 3}
            reader, writer = await server.connect(
                trusting(papers, shows=shown["right"])
            )
            assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")
            writer.close()
    [said] = [one for one in log if one["event"] != "web_config.read"]
    assert said["event"] == "tls.handshakes_fail"
    assert said["log_level"] == "warning"
    assert said["reason"] == reason
    assert said["client"] == "127.0.0.1"
    assert said["advice"] == ADVICE[reason]
    assert CANARY not in str(log)


async def test_who_hangs_up_in_the_middle_is_counted(file, papers, shown):
    trust = trusting(papers, shows=shown["right"])
    with capture_logs() as log:
        async with tls_server(file) as server:
            for _ in range(3):
                await hang_up(server, trust)
            await eventually(lambda: server.failed.total() == 3, "all were counted")
            assert server.failed == {"hung_up": 3}
    [said] = log
    assert (said["reason"], said["client"]) == ("hung_up", "127.0.0.1")
    assert said["advice"] == ADVICE["hung_up"]


async def test_who_does_not_go_on_is_counted_and_sent_away(file, papers, shown):
    trust = trusting(papers, shows=shown["right"])
    with capture_logs() as log:
        async with tls_server(file, idle=0.5) as server:
            reader, writer = await half_a_handshake(server, trust)
            with suppress(OSError):
                async with asyncio.timeout(20):
                    await reader.read()
            await eventually(lambda: server.failed.total() == 1, "it was counted")
            assert server.failed == {"timed_out": 1}
            writer.close()
    [said] = log
    assert (said["reason"], said["client"]) == ("timed_out", "127.0.0.1")


async def test_it_is_said_once_when_it_begins_and_once_when_it_is_over(
    file, papers, shown
):
    strange, plain = trusting(papers, shows=shown["strange"]), CLIENTS["plain_http"]
    with capture_logs() as log:
        async with tls_server(file, quiet=0.4) as server:
            for _ in range(3):
                await fail(server, strange)
                await fail(server, plain)

            def over():
                return [one for one in log if one["event"].endswith("no_more")]

            await eventually(lambda: len(over()) == 2, "both are over")
            assert len(log) == 4
            assert {one["reason"]: one["failed"] for one in over()} == {
                "certificate_refused": 3,
                "plain_http": 3,
            }
            await fail(server, plain)
            await eventually(lambda: len(log) == 5, "it begins again")
    assert log[4]["event"] == "tls.handshakes_fail"


async def test_who_only_looks_whether_somebody_listens_is_no_trouble(file):
    with capture_logs() as log:
        async with tls_server(file, idle=0.5) as server:
            for _ in range(3):
                _, writer = await server.connect()
                writer.close()
            reader, writer = await server.connect()
            async with asyncio.timeout(20):
                assert await reader.read() == b"", "who says nothing is sent away"
            writer.close()
            await fail(server, CLIENTS["no_tls"])
            await eventually(lambda: server.failed.total() == 1, "one was counted")
    assert server.failed == {"no_tls": 1}
    assert [one["reason"] for one in log] == ["no_tls"]


async def test_a_request_that_comes_together_with_the_end_of_the_handshake_is_answered(
    file, papers, shown
):
    trust = trusting(papers, shows=shown["right"])
    async with tls_server(file) as server:
        reader, writer = await server.connect()
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(come, go, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(go.read())
                come.write(await reader.read(64 * 1024))
        client.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        writer.write(go.read())  # all of it at once
        plain = asyncio.StreamReader()

        async def pass_on():
            while data := await reader.read(64 * 1024):
                come.write(data)
                with suppress(ssl.SSLWantReadError):
                    while True:
                        plain.feed_data(client.read(64 * 1024))

        async with asyncio.TaskGroup() as tasks:
            passing = tasks.create_task(pass_on())
            assert (await answer(plain)).startswith(b"HTTP/1.1 200")
            passing.cancel()
        writer.close()


async def test_who_comes_while_no_file_can_be_opened_is_taken_later(
    file, papers, shown
):
    trust = trusting(papers, shows=shown["right"])
    with capture_logs() as log:
        async with tls_server(file) as server:

            def told():
                return [one["event"] for one in log]

            with socket.create_connection(("127.0.0.1", server.port)) as plain:
                with no_more_files():
                    await eventually(told, "it is said")
                assert told() == ["web.accept.down"]
                answer = await asyncio.to_thread(ask_by_tls, plain, trust)
            assert answer.startswith(b"HTTP/1.1 200")
    assert told() == ["web.accept.down", "web.accept.up"]


@contextmanager
def no_more_files():
    """Let this process open no file, and take no connection."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def ask_by_tls(plain, trust):
    plain.settimeout(20)
    with trust.wrap_socket(plain, server_hostname="localhost") as secure:
        secure.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return secure.recv(1024)


def test_every_reason_is_counted_as_itself():
    assert set(ADVICE) == set(HANDSHAKES)

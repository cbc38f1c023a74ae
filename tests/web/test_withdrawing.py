"""Other terms for those who are connected already, and files that do not answer."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import ssl
from contextlib import contextmanager, suppress

import aiohttp
import pytest
from structlog.testing import capture_logs

from support.certificates import Authority
from support.operator_api import operator_api
from support.running import eventually
from support.tls_server import answer, asked, tls_server
from support.web_files import tls_of, trusting, write
from tunewatch.web import TermsFile

pytestmark = pytest.mark.both_loops


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another authority."""
    return Authority.founded(tmp_path_factory.mktemp("other"))


def demanding(path, papers, authority):
    tls = tls_of(
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.certificate),
    )
    return write(path, tls_server_config=tls)


@pytest.mark.parametrize("before", ["another authority", "none", "no TLS"])
async def test_who_is_not_let_in_any_more_is_sent_away_after_what_is_under_way(
    tmp_path, authority, papers, other, before
):
    path = tmp_path / "web.yml"
    if before == "no TLS":
        trust = None
        write(path, rate_limit={"interval": 0})
    else:
        trust = trusting(papers, shows=authority.issue("ann", stem="ann-"))
        demanding(path, papers, authority)
    if before == "none":
        write(path, tls_server_config=tls_of(papers))
    async with tls_server(path) as server:
        idle, busy = await server.connect(trust), await server.connect(trust)
        assert b" 200 " in await asked(*idle)
        busy[1].write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await server.asked.wait()
        demanding(path, papers, other)
        with capture_logs() as log:
            await server.looked()
        assert {one["event"]: one.get("connections") for one in log} == {
            "web_config.sent_away": 2,
            "web_config.read": None,
        }
        async with asyncio.timeout(20):
            assert await idle[0].read() == b""
        server.go.set()
        told = await answer(busy[0])
        assert told.endswith(b"whole")
        assert b"connection: close" in told.lower()
        async with asyncio.timeout(20):
            assert await busy[0].read() == b""
        right = trusting(papers, shows=other.issue("ann", stem=f"{before}-"))
        new = await server.connect(right)
        assert b" 200 " in await asked(*new)
        for _, writer in (idle, busy, new):
            writer.close()


async def test_who_follows_the_stream_is_sent_away_at_once_and_comes_back_behind_it(
    tmp_path, authority, papers, other
):
    path = demanding(tmp_path / "web.yml", papers, authority)
    terms = TermsFile(path)
    old = trusting(papers, shows=authority.issue("ann", stem="stream-"))
    new = trusting(papers, shows=other.issue("ann", stem="stream-"))
    async with operator_api(
        f"sqlite:///{tmp_path / 'state.db'}", terms=terms, tls=old
    ) as operator:
        await operator.filling.job("ftjob-a")
        async with operator.follow("?after=0") as stream:
            assert (await stream.event())["data"]["id"] == "ftjob-a"
            demanding(path, papers, other)
            for _ in range(2):
                await terms.look()
            async with asyncio.timeout(5):  # no heartbeat, and no patience
                while await stream.block() is not None:
                    pass
        trust = aiohttp.TCPConnector(ssl=new)
        async with aiohttp.ClientSession(connector=trust) as operator.session:
            await operator.filling.job("ftjob-b")
            async with operator.follow(Last_Event_ID=stream.last) as again:
                while (await again.event())["data"]["id"] != "ftjob-b":
                    pass


async def test_a_handshake_under_way_does_not_end_well_by_what_was_withdrawn(
    tmp_path, authority, papers, other
):
    path = demanding(tmp_path / "web.yml", papers, authority)
    trust = trusting(papers, shows=authority.issue("ann", stem="late-"))
    async with tls_server(path) as server:
        reader, writer = await server.connect()
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(come, go, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(go.read())
        come.write(await reader.read(64 * 1024))
        client.do_handshake()  # what is still to be sent ends it
        demanding(path, papers, other)
        await server.looked()
        client.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        writer.write(go.read())
        async with asyncio.timeout(20):
            with suppress(OSError):
                assert await reader.read() == b""
        writer.close()


async def test_who_is_still_let_in_stays(tmp_path, authority, papers):
    path = demanding(tmp_path / "web.yml", papers, authority)
    trust = trusting(papers, shows=authority.issue("ann", stem="stays-"))
    async with tls_server(path) as server:
        connection = await server.connect(trust)
        assert b" 200 " in await asked(*connection)
        demanding(path, authority.issue("localhost", stem="renewed-"), authority)
        await server.looked()
        assert b" 200 " in await asked(*connection)
        connection[1].close()


@contextmanager
def hanging(path):
    """Let whoever opens a file wait, as for a mount that is away."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # somebody opens it
    number = os.open(path, os.O_RDONLY)
    fcntl.fcntl(number, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        yield
    finally:
        os.close(number)
        signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize(
    "which", ["web.yml", "certificate.pem", "key.pem", "authority.pem"]
)
async def test_a_file_that_hangs_holds_up_nothing_and_is_said(
    tmp_path, authority, which
):
    (tmp_path / "files").mkdir()
    own = Authority.founded(tmp_path / "files")
    papers = own.issue("localhost")
    path = demanding(tmp_path / "files" / "web.yml", papers, own)
    trust = trusting(papers, shows=own.issue("ann", stem="ann-"))
    async with tls_server(path, patience=0.3) as server:
        file = tmp_path / "files" / which
        file.write_bytes(file.read_bytes())  # another one, by its times
        with capture_logs() as log, hanging(file):
            async with asyncio.timeout(20):
                for _ in range(4):
                    await server.terms.look()
            state = server.terms.state()
            assert state.state == "refused"
            assert "found no answer" in state.reason
            reader, writer = await server.connect(trust)
            assert b" 200 " in await asked(reader, writer)
            writer.close()

        async def is_up():
            await server.terms.look()
            return server.terms.state().state == "up"

        with capture_logs() as later:
            await eventually(is_up, "it was read again")
        told = [one["event"] for one in (*log, *later)]
        assert told == ["web_config.refused", "web_config.read"]


@pytest.mark.parametrize("which", ["web.yml", "certificate.pem", "key.pem"])
async def test_a_pipe_is_refused_and_not_waited_for(tmp_path, which):
    own = Authority.founded(tmp_path)
    papers = own.issue("localhost")
    path = write(tmp_path / "web.yml", tls_server_config=tls_of(papers))
    async with tls_server(path, patience=5.0) as server:
        kept = (tmp_path / which).read_bytes()
        (tmp_path / which).unlink()
        os.mkfifo(tmp_path / which)
        await server.looked()
        assert "a pipe or a device" in server.terms.state().reason
        (tmp_path / which).unlink()
        (tmp_path / which).write_bytes(kept)
        await server.looked()
        assert server.terms.state().state == "up"

"""TLS by a web configuration file: real handshakes, rotation, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from support.certificates import Authority, self_signed
from support.databases import free_port
from support.operator_api import operator_api
from support.web_files import basic, hashed, tls_of, trusting, write
from tunewatch.config import Address
from tunewatch.config.web_file import TlsServer
from tunewatch.plugin import Answer, Route
from tunewatch.settings import ConfigError
from tunewatch.web import TermsFile, read_terms
from tunewatch.web.certificate import validity_of


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Somebody with a certificate by an authority that nobody here knows."""
    other = Authority.founded(tmp_path_factory.mktemp("stranger"))
    return other.issue("prometheus.example")


@asynccontextmanager
async def served(tmp_path, papers, *, shows=None, **options):
    terms = TermsFile(tmp_path / "web.yml")
    url = f"sqlite:///{tmp_path / 'state.db'}"
    trust = trusting(papers, shows=shows)
    async with operator_api(url, terms=terms, tls=trust, **options) as operator:
        yield operator, terms


def tls_file(tmp_path, papers, **more):
    return write(tmp_path / "web.yml", tls_server_config=tls_of(papers, **more))


async def get(operator, trust, path="/livez"):
    """Ask on a connection of its own."""
    connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(operator.url + path) as answer,
    ):
        return answer.status


async def refused(operator, trust, path="/livez"):
    """Whether a connection ends before anything is answered."""
    try:
        await get(operator, trust, path)
    except aiohttp.ClientError:
        return True
    return False


async def shown(operator, trust, host="127.0.0.1"):
    """Return the serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection(
        host, operator.port, ssl=trust, server_hostname="localhost"
    )
    told = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return told


async def test_everything_is_served_by_tls_and_nothing_without(tmp_path, papers):
    tls_file(tmp_path, papers)
    async with served(tmp_path, papers) as (operator, _):
        for path in ("//livez", "//readyz", "/jobs", "/schemas"):
            assert (await operator.ask(path)).status == 200
        plain = operator.url.replace("https", "http")
        with pytest.raises(aiohttp.ClientError):
            await operator.session.get(plain + "/livez")


async def test_who_never_agrees_upon_tls_is_sent_away(tmp_path, papers):
    tls_file(tmp_path, papers)
    async with served(tmp_path, papers, idle=0.3) as (operator, _):
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection("127.0.0.1", operator.port)
            writer.write(said)
            async with asyncio.timeout(20):
                assert b"HTTP" not in await reader.read()
            writer.close()
        assert (await operator.ask("/jobs")).status == 200


async def test_forged_hosts_and_origins_are_refused_over_tls_too(tmp_path, papers):
    tls_file(tmp_path, papers)
    async with served(tmp_path, papers) as (operator, _):
        own = {"Origin": operator.url}
        assert (await operator.ask("/jobs", **own)).status == 200
        for forged in (
            {"Host": "evil.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "https://localhost:1"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert (await operator.ask("/jobs", **forged)).status == 403, forged
            assert (await operator.ask("/jobs", "POST", **forged)).status == 403


async def test_older_versions_than_the_least_one_are_refused(tmp_path, papers):
    tls_file(tmp_path, papers, min_version="TLS13")
    older, newer = trusting(papers), trusting(papers)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    newer.minimum_version = ssl.TLSVersion.TLSv1_3
    async with served(tmp_path, papers) as (operator, _):
        assert await refused(operator, older)
        assert await get(operator, newer) == 200


async def test_suites_curves_and_the_newest_version_are_what_the_file_says(
    tmp_path, papers
):
    suites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    tls_file(
        tmp_path,
        papers,
        max_version="TLS12",
        cipher_suites=suites,
        curve_preferences=["CurveP384"],
    )
    async with served(tmp_path, papers) as (operator, _):
        _, writer = await asyncio.open_connection(
            "localhost", operator.port, ssl=trusting(papers)
        )
        name, version, _ = writer.get_extra_info("cipher")
        writer.close()
        assert (name, version) == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2")
        other = trusting(papers)
        other.maximum_version = ssl.TLSVersion.TLSv1_2
        other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert await refused(operator, other)
        other = trusting(papers)
        other.set_ecdh_curve("prime256v1")
        assert await refused(operator, other)


async def test_a_certificate_is_demanded_of_clients(
    tmp_path, authority, papers, stranger
):
    mine = authority.issue("prometheus.example", stem="prometheus-")
    tls_file(
        tmp_path,
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.certificate),
    )
    async with served(tmp_path, papers, shows=mine) as (operator, _):
        assert (await operator.ask("/jobs")).status == 200
        for path in ("/livez", "/metrics", "/hooks/openai/research"):
            assert await refused(operator, trusting(papers), path)
            assert await refused(operator, trusting(papers, shows=stranger), path)


async def test_a_certificate_may_be_shown_and_is_verified_then(
    tmp_path, authority, papers, stranger
):
    mine = authority.issue("prometheus.example", stem="prometheus-")
    tls_file(
        tmp_path,
        papers,
        client_auth_type="VerifyClientCertIfGiven",
        client_ca_file=str(authority.certificate),
    )
    async with served(tmp_path, papers) as (operator, _):
        assert await get(operator, trusting(papers)) == 200
        assert await get(operator, trusting(papers, shows=mine)) == 200
        assert await refused(operator, trusting(papers, shows=stranger))


async def test_a_certificate_by_nobody_but_itself_may_be_the_one_that_is_demanded(
    tmp_path, papers, stranger
):
    mine = self_signed(tmp_path, name="prometheus.example")
    tls_file(
        tmp_path,
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(mine.certificate),
        client_allowed_sans=["prometheus.example"],
    )
    async with served(tmp_path, papers, shows=mine) as (operator, _):
        assert (await operator.ask("/jobs")).status == 200
        assert await refused(operator, trusting(papers, shows=stranger))


NAMES = {
    "a host": (x509.DNSName("prometheus.example"), 200),
    "an address": (x509.IPAddress(ipaddress.ip_address("10.1.2.3")), 200),
    "a mailbox": (x509.RFC822Name("ann@example.com"), 200),
    "a newer address": (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), 200),
    "a service": (x509.UniformResourceIdentifier("spiffe://acme/prometheus"), 200),
    "another host": (x509.DNSName("evil.example"), 403),
    "a part of it": (x509.DNSName("sub.prometheus.example"), 403),
    "the same in capitals": (x509.DNSName("PROMETHEUS.example"), 403),
    "a host called like the service": (
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        403,
    ),
}


async def test_only_certificates_with_an_allowed_name_get_an_answer(
    tmp_path, authority, papers
):
    tls_file(
        tmp_path,
        papers,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(authority.certificate),
        client_allowed_sans=[
            *("prometheus.example", "10.1.2.3", "2001:db8::1", "ann@example.com"),
            "spiffe://acme/prometheus",
        ],
    )
    first = authority.issue("prometheus.example", stem="first-")
    async with served(tmp_path, papers, shows=first) as (operator, _):
        assert (await operator.ask("/jobs")).status == 200
        for number, (what, (name, status)) in enumerate(NAMES.items()):
            mine = authority.issue("anybody", stem=f"{number}-", names=[name])
            for path in ("/livez", "/hooks/openai/none", "/api/v1/jobs"):
                found = await get(operator, trusting(papers, shows=mine), path)
                if path.startswith("/hooks") and status == 200:
                    assert found == 404
                else:
                    assert found == status, (what, path)


async def test_a_new_certificate_is_served_and_no_connection_is_dropped(
    tmp_path, authority, papers
):
    tls_file(tmp_path, papers)
    trust = trusting(papers)
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_headers):
        begun.set()
        await go.wait()
        return Answer(body=b"whole", content_type="text/plain")

    views = (Route(path="/slow", respond=slow),)
    async with served(tmp_path, papers, views=views) as (operator, terms):
        before = await shown(operator, trust)
        assert (await operator.ask("//livez")).status == 200  # stays open
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(operator.ask("//slow"))
            await begun.wait()
            tls_file(tmp_path, authority.issue("localhost", stem="new-"))
            await terms.look()  # sees that it is another one
            await terms.look()  # and that it stays so
            after = await shown(operator, trust)
            assert not asked.done()
            go.set()
        assert asked.result().body == b"whole"
        assert before != after
        # The connection from before is still of use: nobody was sent away.
        assert (await operator.ask("//livez")).status == 200


async def test_a_certificate_that_is_exchanged_where_it_lies_is_served(
    tmp_path, authority
):
    papers = authority.issue("localhost", stem="inplace-")
    tls_file(tmp_path, papers)
    async with served(tmp_path, papers) as (operator, terms):
        seen = [await shown(operator, trusting(papers))]
        for _ in range(3):
            authority.issue("localhost", stem="inplace-")
            await terms.look()
            await terms.look()
            seen.append(await shown(operator, trusting(papers)))
        assert len(set(seen)) == 4


async def test_whoever_connects_while_certificates_change_is_served(
    tmp_path, authority, papers
):
    tls_file(tmp_path, papers)
    trust, over = trusting(papers), asyncio.Event()

    async def connecting(operator):
        seen = set()
        while not over.is_set():
            async with asyncio.timeout(20):  # one that is lost is never answered
                seen.add(await shown(operator, trust))
        return seen

    async with served(tmp_path, papers) as (operator, terms):
        async with asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(connecting(operator)) for _ in range(8)]
            for number in range(25):
                tls_file(tmp_path, authority.issue("localhost", stem=f"{number}-"))
                await terms.look()
                await terms.look()
            over.set()
        assert len({one for caller in callers for one in caller.result()}) > 10


async def test_tls_may_come_later_and_whoever_is_connected_stays(tmp_path, papers):
    users = {"ann": hashed("x")}
    right = basic("ann", "x")
    write(tmp_path / "web.yml", basic_auth_users=users)
    url, terms = f"sqlite:///{tmp_path / 'state.db'}", TermsFile(tmp_path / "web.yml")
    async with operator_api(url, terms=terms) as operator:
        assert (await operator.ask("/jobs", **right)).status == 200
        tls = tls_of(papers)
        write(tmp_path / "web.yml", basic_auth_users=users, tls_server_config=tls)
        await terms.look()
        await terms.look()
        assert (await operator.ask("/jobs", **right)).status == 200
        assert await refused(operator, trust=True)
        operator.origin = "https://localhost"
        assert await get(operator, trusting(papers)) == 200


async def test_every_address_of_a_name_is_served_by_the_new_certificate(
    tmp_path, authority, papers
):
    tls_file(tmp_path, papers)
    address = Address("localhost", free_port())
    found = await asyncio.get_running_loop().getaddrinfo(
        "localhost", address.port, type=socket.SOCK_STREAM
    )
    hosts = {where[0] for *_, where in found}
    async with served(tmp_path, papers, address=address) as (operator, terms):
        before = {await shown(operator, trusting(papers), host) for host in hosts}
        tls_file(tmp_path, authority.issue("localhost", stem="named-"))
        await terms.look()
        await terms.look()
        after = {await shown(operator, trusting(papers), host) for host in hosts}
    assert len(before) == len(after) == 1
    assert before != after


async def test_a_projected_folder_of_kubernetes_is_followed(tmp_path, authority):
    """Its files are links to a folder that is exchanged as a whole."""
    for number in (1, 2):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        papers = authority.issue("localhost", stem=f"k{number}-")
        (folder / "tls.crt").write_bytes(papers.certificate.read_bytes())
        (folder / "tls.key").write_bytes(papers.key.read_bytes())
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    relative = {"cert_file": "tls.crt", "key_file": "tls.key"}
    write(tmp_path / "web.yml", tls_server_config=relative)
    async with served(tmp_path, papers) as (operator, terms):
        before = await shown(operator, trusting(papers))
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await terms.look()
        await terms.look()
        assert await shown(operator, trusting(papers)) != before


BAD = {
    "no YAML": lambda path, _: path.write_text("{"),
    "nothing": lambda path, _: path.write_text(""),
    "gone": lambda path, _: path.unlink(),
    "an unknown key": lambda path, _: path.write_text("tls: {}"),
    "no TLS any more": lambda path, _: write(path, rate_limit={"interval": 0}),
    "a certificate of another key": lambda path, papers: write(
        path,
        tls_server_config={
            "cert_file": str(papers.certificate),
            "key_file": str(papers.authority),
        },
    ),
    "a certificate that is not there": lambda path, papers: write(
        path, tls_server_config={**tls_of(papers), "cert_file": "nowhere"}
    ),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_file_that_cannot_be_used_leaves_all_as_it_was(tmp_path, papers, how):
    path = tls_file(tmp_path, papers)
    heard: list[tuple[bool, float | None]] = []
    async with served(tmp_path, papers) as (operator, _):
        terms = TermsFile(path, told=lambda *said: heard.append(said))
        with capture_logs() as log:
            BAD[how](path, papers)
            for _ in range(4):
                await terms.look()
            state = terms.state()
            assert state is not None
            assert state.state == "refused"
            assert state.since is not None
            assert str(path) in (state.reason or "")
            assert await get(operator, trusting(papers)) == 200
            tls_file(tmp_path, papers)
            await terms.look()
            await terms.look()
        events = [one["event"] for one in log]
        assert events == ["web_config.refused", "web_config.read"]
        assert [ok for ok, _ in heard] == [*[False] * (len(heard) - 1), True]
        assert all(ends is not None for _, ends in heard)
        assert terms.state().state == "up"


async def test_what_is_asked_of_callers_is_not_dropped_while_it_runs(
    tmp_path, authority, papers
):
    strict = {
        "min_version": "TLS13",
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": str(authority.certificate),
        "client_allowed_sans": ["a"],
    }
    users = {"ann": hashed("x")}
    path = tmp_path / "web.yml"

    def lay(drop=(), **more):
        kept = {key: one for key, one in strict.items() if key not in drop}
        write(path, tls_server_config=tls_of(papers, **kept), **more)

    lay(basic_auth_users=users)
    terms = TermsFile(path)
    for dropped, key in (
        (("min_version",), "tls_server_config.min_version"),
        (("client_allowed_sans",), "tls_server_config.client_allowed_sans"),
        (tuple(strict), "tls_server_config.client_auth_type"),
    ):
        lay(dropped, basic_auth_users=users)
        await terms.look()
        await terms.look()
        assert key in (terms.state().reason or ""), dropped
        assert "Restart to ask for less" in (terms.state().reason or "")
    lay()
    await terms.look()
    await terms.look()
    assert "basic_auth_users" in (terms.state().reason or "")
    assert terms.now.users == users
    lay(basic_auth_users={"bob": hashed("y")})
    await terms.look()
    await terms.look()
    assert terms.state().state == "up"
    assert list(terms.now.users) == ["bob"]


async def test_users_come_and_go_while_it_runs(tmp_path, papers):
    def lay(**users):
        tls = tls_of(papers)
        write(tmp_path / "web.yml", tls_server_config=tls, basic_auth_users=users)

    old, new = basic("ann", "old"), basic("ann", "new")
    lay(ann=hashed("old"))
    async with served(tmp_path, papers) as (operator, terms):
        assert (await operator.ask("/jobs", **old)).status == 200
        lay(ann=hashed("new"))
        await terms.look()
        assert (await operator.ask("/jobs", **old)).status == 200  # half written?
        await terms.look()
        assert (await operator.ask("/jobs", **old)).status == 401
        assert (await operator.ask("/jobs", **new)).status == 200


async def test_headers_are_added_to_every_answer(tmp_path, papers):
    headers = {
        "Strict-Transport-Security": "max-age=63072000",
        "X-Frame-Options": "deny",
        "X-XSS-Protection": "",
    }
    tls = tls_of(papers)
    write(
        tmp_path / "web.yml",
        tls_server_config=tls,
        http_server_config={"headers": headers, "http2": False},
    )
    async with served(tmp_path, papers) as (operator, _):
        for path in ("//livez", "/jobs", "//nowhere"):
            reply = await operator.ask(path)
            assert reply.headers["Strict-Transport-Security"] == "max-age=63072000"
            assert reply.headers["X-Frame-Options"] == "deny"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert "X-XSS-Protection" not in reply.headers


async def test_requests_beyond_the_rate_are_told_to_come_later_and_probes_are_not(
    tmp_path, papers
):
    limit = {"interval": "1h", "burst": 3}
    write(tmp_path / "web.yml", tls_server_config=tls_of(papers), rate_limit=limit)
    async with served(tmp_path, papers) as (operator, _):
        found = [(await operator.ask("/jobs")).status for _ in range(5)]
        assert found == [200, 200, 200, 429, 429]
        reply = await operator.ask("/jobs")
        assert 0 < int(reply.headers["Retry-After"]) <= 3600
        assert (await operator.ask("//readyz")).status == 200


async def test_when_a_certificate_expires_is_known(tmp_path, authority):
    for ends in (
        dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
        dt.datetime(2051, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.datetime(2020, 2, 29, tzinfo=dt.UTC),
    ):
        papers = authority.issue("localhost", stem="timed-", ends=ends)
        assert read_terms(tls_file(tmp_path, papers)).ends == ends.timestamp()


async def test_an_expired_certificate_is_served_and_said(tmp_path, authority):
    ends = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    papers = authority.issue("localhost", stem="expired-", ends=ends)
    with capture_logs() as log:
        terms = TermsFile(tls_file(tmp_path, papers))
        terms.born()
        await terms.look()
        assert terms.state().state == "expired"
        assert terms.state().since == int(ends.timestamp())
        tls_file(tmp_path, authority.issue("localhost", stem="renewed-"))
        await terms.look()
        await terms.look()
        assert terms.state().state == "up"
    events = [one["event"] for one in log]
    assert events == ["web_config.expired", "web_config.read"]


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_none(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(data))
    assert validity_of(path) is None or validity_of(path).ends is not None


VALUES = st.sampled_from(
    [
        *("", "x", "\0", "..", "/dev/null", "/etc", "a" * 5000, "TLS12", "TLS13"),
        *("NoClientCert", "RequireAndVerifyClientCert", "X25519", "CurveP256"),
    ]
)


@given(
    table=st.dictionaries(
        st.sampled_from(sorted(TlsServer.model_fields)),
        VALUES | st.lists(VALUES, max_size=2) | st.booleans(),
    )
)
def test_whatever_is_said_of_tls_is_served_or_refused(tmp_path_factory, papers, table):
    path = tmp_path_factory.getbasetemp() / "any-tls.yml"
    write(path, tls_server_config={**tls_of(papers), **table})
    with suppress(ConfigError):  # and no other
        assert read_terms(path).context is not None


async def test_a_key_with_a_passphrase_asks_nobody_for_it(tmp_path, authority):
    papers = authority.issue("localhost", stem="locked-", password="canary")
    with pytest.raises(ConfigError, match="passphrase"):
        read_terms(tls_file(tmp_path, papers))


async def test_a_key_that_may_not_be_read_is_named(tmp_path, papers):
    kept = tmp_path / "folder"
    kept.mkdir()
    tls_file(tmp_path, papers, key_file=str(kept))
    with pytest.raises(ConfigError, match=r"tls_server_config\.key_file: .*folder"):
        read_terms(tmp_path / "web.yml")

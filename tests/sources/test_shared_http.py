from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.scripted_api import listing, scripted_api, source_at
from tunewatch.sources.contract import SourceContext, Unavailable
from tunewatch.sources.http import shared_http
from tunewatch.sources.openai import OpenAISettings, open_source


def certificate(where: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = where / "loopback.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


async def test_only_a_trusted_certificate_is_talked_to(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    async with scripted_api(tls=tls) as api:
        api.says("/fine_tuning/jobs", listing())
        async with source_at(api.base_url) as it:
            with pytest.raises(
                Unavailable, match=r"not trusted: self.signed certificate"
            ):
                await it.source.list_jobs(after=None, limit=1)
            assert api.requests == []
        async with (
            shared_http(ca_file=pem) as http,
            source_at(api.base_url, http=http) as it,
        ):
            assert (await it.source.list_jobs(after=None, limit=1)).count == 0


async def test_a_trust_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with shared_http(ca_file=tmp_path / "none.pem"):
            pass


async def test_plain_http_where_tls_is_spoken_is_unavailable(tmp_path: Path) -> None:
    async with scripted_api() as api:
        api.says("/fine_tuning/jobs", listing())
        async with source_at(api.base_url.replace("http:", "https:")) as it:
            with pytest.raises(Unavailable, match="TLS failed"):
                await it.source.list_jobs(after=None, limit=1)


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Open a proxy that answers every request itself, and keeps its head."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n"
            b'Set-Cookie: a=b\r\n\r\n{"data": []}'
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


ASKED = b"GET http://api.invalid/v1/fine_tuning/jobs?limit=1 HTTP/1.1\r\n"


async def test_a_proxy_is_asked_instead_of_the_api() -> None:
    async with (
        proxy() as (address, asked),
        shared_http(proxy=address) as http,
        source_at("http://api.invalid/v1", http=http) as it,
    ):
        await it.source.list_jobs(after=None, limit=1)
        await it.source.list_jobs(after=None, limit=1)
    by_client, likewise = asked
    assert by_client.startswith(ASKED)
    assert likewise == by_client


@pytest.mark.filterwarnings("ignore:The 'proxy_auth' parameter:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
async def test_the_proxy_of_the_environment_is_used_with_its_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy() as (address, asked):
        known = address.replace("//", "//me:secret@")
        monkeypatch.setenv("HTTP_PROXY", known)
        monkeypatch.setenv("http_proxy", known)
        async with source_at("http://api.invalid/v1") as it:
            await it.source.list_jobs(after=None, limit=1)
            await it.source.list_jobs(after=None, limit=1)
    by_client, likewise = asked
    assert by_client.startswith(ASKED)
    assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in by_client
    assert likewise == by_client


async def test_a_source_that_closes_leaves_the_client_to_others() -> None:
    async with scripted_api() as api, shared_http() as http:
        api.says("/fine_tuning/jobs", listing())
        settings = OpenAISettings(base_url=api.base_url)
        context = SourceContext(
            name="a", secret=lambda: "k", observe=lambda call: None, http=http
        )
        for _ in range(2):
            async with open_source(settings, context) as source:
                assert (await source.list_jobs(after=None, limit=1)).count == 0


async def test_a_client_of_another_kind_is_refused_when_the_source_opens() -> None:
    context = SourceContext(
        name="a", secret=lambda: "k", observe=lambda call: None, http=object()
    )
    with pytest.raises(TypeError, match="shared_http"):
        async with open_source(OpenAISettings(), context):
            pass

"""A shared HTTP client that remembers no cookies.

What one key was given is not for another key's requests: behind a gateway that trusts
its session cookies, one source would read another's jobs.
"""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx2


def forget_cookies(client: httpx2.AsyncClient) -> None:
    """Make a client of the aiohttp backend drop every cookie, before its first use.

    Two jars have to go: the client's own, and that of the aiohttp session which the
    transport would make for itself.
    """
    client.cookies.jar = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    # The client shows its transports nowhere; one per proxy of the environment.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            _forget(transport)


def _forget(transport: Any) -> None:
    """Give a transport a way to make its session: the same, with a jar that is none."""

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=transport.ssl_context,
            limit=transport.limits.max_connections,
            keepalive_timeout=transport.limits.keepalive_expiry,
        )
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        )

    transport.client = session

"""The aiohttp session beneath a shared HTTP client.

For requests that need nothing of what lies between the two (redirects, cookies, hooks,
a second idea of a URL), which costs more than all that aiohttp does. Same connections,
same proxies, same trust store. Knows no provider, and bounds nothing in time or size.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import httpx2
from yarl import URL

_UNTIMED = aiohttp.ClientTimeout(total=None, sock_connect=None)


class Beneath:
    """What the requests of a client to one origin go out through."""

    def __init__(
        self, session: aiohttp.ClientSession, proxy: httpx2.Proxy | None
    ) -> None:
        self._session = session
        self._proxy: dict[str, Any] = {}
        if proxy is not None:
            self._proxy["proxy"] = str(proxy.url)
            self._proxy["proxy_headers"] = proxy.headers
            if proxy.auth is not None:
                self._proxy["proxy_auth"] = aiohttp.BasicAuth(*proxy.auth)

    @classmethod
    def of(cls, client: httpx2.AsyncClient, url: httpx2.URL) -> Beneath | None:
        """Return what a client that has asked there once sends through.

        None if it is not aiohttp.
        """
        # The client shows its transports nowhere.
        transport: Any = client._transport_for_url(url)  # noqa: SLF001
        session = getattr(transport, "client", None)
        if not isinstance(session, aiohttp.ClientSession):
            return None
        return cls(session, transport.proxy)

    def get(
        self, address: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request; lend the answer: its body neither read nor unpacked.

        The address goes out as it is, so what has to be quoted is quoted.
        Raises aiohttp.ClientError, OSError.
        """
        return self._session.get(
            URL(address, encoded=True),
            headers=headers,
            allow_redirects=False,
            auto_decompress=False,
            timeout=_UNTIMED,
            **self._proxy,
        )

"""A managed identity's endpoint on loopback, as App Service gives it to a process.

Gives out numbered tokens; what is asked of it is kept.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Identity:
    """What the endpoint does and has seen."""

    url: str = ""
    lasts: float = 3600.0  #: s that a token is good for
    refuses: int | None = None  #: the status of a refusal
    asked: list[web.BaseRequest] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a process finds it."""
        return {"IDENTITY_ENDPOINT": self.url, "IDENTITY_HEADER": "proof-of-place"}

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Give out the next token."""
        self.asked.append(request)
        if self.refuses is not None:
            body = {"error": "invalid_scope", "message": "no identity is assigned"}
            return web.json_response(body, status=self.refuses)
        token = {
            "access_token": f"entra-token-{len(self.asked)}",
            "expires_on": str(int(time.time() + self.lasts)),
            "resource": request.query.get("resource", ""),
            "token_type": "Bearer",
        }
        return web.json_response(token)


@asynccontextmanager
async def identity_server() -> AsyncIterator[Identity]:
    """Open the endpoint on a free port."""
    identity = Identity()
    runner = web.ServerRunner(web.Server(identity.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        identity.url = f"http://127.0.0.1:{runner.addresses[0][1]}/msi/token"
        yield identity
    finally:
        await runner.cleanup()

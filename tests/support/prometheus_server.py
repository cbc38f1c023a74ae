"""A real Prometheus that scrapes one target on loopback, for as long as it is lent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tunewatch.plugin import View

_CONFIG = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs:
  - job_name: tunewatch
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
    {more}
"""
_PATIENCE = 30.0  # s

Result = dict[frozenset[tuple[str, str]], float]


class Prometheus:
    """Asks a running Prometheus through its HTTP API."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    async def get(self, path: str, **params: str) -> Any:
        """Return the data of an answer."""
        async with self._session.get(self._url + path, params=params) as answer:
            body = await answer.json()
            assert body["status"] == "success", body
            return body["data"]

    async def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series, without those of the target."""
        data = await self.get("query", query=promql)
        return [
            (
                {k: v for k, v in s["metric"].items() if k not in {"instance", "job"}},
                float(s["value"][1]),
            )
            for s in data["result"]
        ]

    async def exemplars(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and value of each exemplar of the last hour or so."""
        now = time.time()
        data = await self.get(
            "query_exemplars", query=promql, start=str(now - 4000), end=str(now + 60)
        )
        return [
            (one["labels"], float(one["value"])) for s in data for one in s["exemplars"]
        ]

    async def until(
        self, promql: str, holds: Callable[[list[tuple[dict[str, str], float]]], bool]
    ) -> list[tuple[dict[str, str], float]]:
        """Return the first result that holds; fail loudly when none came in time."""
        found: list[tuple[dict[str, str], float]] = []
        try:
            async with asyncio.timeout(_PATIENCE):
                # Prometheus tells nobody when it has scraped.
                while not holds(found := await self.query(promql)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{promql} stayed {found}") from None
        return found


@asynccontextmanager
async def served(view: View) -> AsyncIterator[int]:
    """Serve a view's routes on loopback; lend the port."""
    app = web.Application()
    for route in view.routes():
        app.router.add_get(route.path, _handler(route.respond))
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def prometheus_server(
    target: int, home: Path, *, more: str = ""
) -> AsyncIterator[Prometheus]:
    """Run Prometheus against a port of loopback and lend it once it is ready.

    `more` is what its configuration says of the target in one line of YAML's flow form.
    """
    config = home / "prometheus.yml"
    config.write_text(_CONFIG.format(port=target, more=more))
    port = _free_port()
    with (home / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            await _ready(session, port, process, home / "prometheus.log")
            yield Prometheus(session, port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(
    session: aiohttp.ClientSession,
    port: int,
    process: asyncio.subprocess.Process,
    log: Path,
) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            assert process.returncode is None, f"Prometheus ended, see {log}"
            try:
                async with session.get(f"http://127.0.0.1:{port}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


def _handler(
    respond: Callable[..., Awaitable[Any]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        given = {name.lower(): value for name, value in request.headers.items()}
        answer = await respond(given)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    return handle


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

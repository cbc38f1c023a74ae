"""What a webhook really dials, told as JSON. Run by `support.loopback.alone`.

Everything dialled arrives at one receiver, which notes the address it was dialled by.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.name_server import name_server
from support.receiver_server import request_read
from support.webhook_opening import SECRET, Lent, delivery, settled
from tunewatch.plugin import Retry
from tunewatch_plugins.webhook.sink import open_webhook


@asynccontextmanager
async def everywhere(dialled: list[str]) -> AsyncIterator[int]:
    """Receive at every address there is; yield the port."""

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        dialled.append(writer.get_extra_info("sockname")[0].removeprefix("::ffff:"))
        try:
            await request_read(reader)
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # only looked in
        writer.close()

    listening = socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    )
    async with await asyncio.start_server(handle, sock=listening):
        yield listening.getsockname()[1]


async def sent(url: str, allow_hosts: list[str]) -> str:
    """Return "delivered", or why it was not."""
    table = {"url": url, "secret": SECRET, "allow_hosts": allow_hosts}
    settings, mistakes = settled(table)
    if settings is None:
        return "; ".join(mistakes)
    async with open_webhook(settings, Lent().context()) as webhook:
        try:
            await webhook.deliver(delivery())
        except Retry as retry:
            return f"{retry.scope}: {retry.reason}"
    return "delivered"


async def controlled(addresses: list[str], port: int) -> list[str]:
    """Dial without a webhook; return the addresses that can be reached here."""
    reached = []
    for address in addresses:
        try:
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(address, port)
        except OSError:
            continue
        writer.close()
        reached.append(address)
    return reached


async def dial(asked: dict[str, object]) -> dict[str, object]:
    """Do what is asked: deliver to each URL, with names resolved as given."""
    names: dict[str, list[list[str]]] = asked["names"]  # type: ignore[assignment]

    def answers(name: str, number: int) -> list[str]:
        turns = names.get(name.lower(), [[]])
        return turns[number % len(turns)]

    dialled: list[str] = []
    results = []
    async with everywhere(dialled) as port, name_server(answers):
        reached = await controlled(list(asked["control"]), port)  # type: ignore[call-overload]
        dialled.clear()
        for url, allow_hosts in asked["deliveries"]:  # type: ignore[attr-defined]
            before = len(dialled)
            said = await sent(url.replace("PORT", str(port)), allow_hosts)
            results.append({"url": url, "said": said, "dialled": dialled[before:]})
    return {"reached": reached, "results": results}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(dial(json.loads(sys.argv[1])))))

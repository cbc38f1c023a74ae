"""What a webhook really dials, told as JSON. Run by `support.loopback.alone`.

Everything dialled arrives at one receiver, which notes the address it was dialled by.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.name_server import name_server
from support.webhook_opening import SECRET, Lent, delivery, settled
from tunewatch.plugin import Retry
from tunewatch_plugins.webhook.sink import open_webhook


@dataclass(slots=True)
class Heard:
    """What arrived at the receiver, whoever it was meant for."""

    dialled: list[str] = field(default_factory=list)  #: addresses
    hosts: list[str] = field(default_factory=list)  #: Host headers
    names: list[str | None] = field(default_factory=list)  #: asked for in TLS
    port: int = 0
    tls: ssl.SSLContext | None = None
    redirect: str | None = None  #: a Location to answer with

    async def handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = writer.get_extra_info("sockname")[0].removeprefix("::ffff:")
        self.dialled.append(address)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.hosts += re.findall(r"(?im)^host: *(.*?)\r$", head.decode("latin-1"))
            moved = self.redirect
            first = "302 Found" if moved else "204 No Content"
            where = f"Location: {moved}\r\n" if moved else ""
            answer = f"HTTP/1.1 {first}\r\n{where}Connection: close\r\n\r\n"
            writer.write(answer.encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # only looked in
        writer.close()


@asynccontextmanager
async def everywhere(papers: dict[str, str] | None) -> AsyncIterator[Heard]:
    """Receive at every address there is, by TLS if there is a certificate for it."""
    heard = Heard()
    if papers is not None:
        heard.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        heard.tls.load_cert_chain(papers["certificate"], papers["key"])
        heard.tls.sni_callback = lambda _socket, name, _context: heard.names.append(
            name
        )
    listening = socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    )
    heard.port = listening.getsockname()[1]
    async with await asyncio.start_server(heard.handle, sock=listening, ssl=heard.tls):
        yield heard


async def sent(url: str, allow_hosts: list[str], ca_file: str | None) -> str:
    """Return "delivered", or why it was not."""
    table = {"url": url, "secret": SECRET, "allow_hosts": allow_hosts}
    if ca_file is not None:
        table["ca_file"] = ca_file
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

    papers: dict[str, str] | None = asked["papers"]  # type: ignore[assignment]
    results = []
    async with everywhere(papers) as heard, name_server(answers):
        reached = await controlled(list(asked["control"]), heard.port)  # type: ignore[call-overload]
        for url, allow_hosts, *more in asked["deliveries"]:  # type: ignore[attr-defined]
            heard.dialled, heard.hosts, heard.names = [], [], []
            heard.redirect = more[0] if more else None
            where = url.replace("PORT", str(heard.port))
            said = await sent(where, allow_hosts, papers and papers["authority"])
            results.append(
                {
                    "url": url,
                    "said": said.replace(str(heard.port), "PORT"),
                    "dialled": heard.dialled,
                    "hosts": [h.replace(str(heard.port), "PORT") for h in heard.hosts],
                    "names": heard.names,
                }
            )
    return {"reached": reached, "results": results}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(dial(json.loads(sys.argv[1])))))

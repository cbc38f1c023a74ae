"""A name server that answers as its test says, another answer each time if it likes."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

Answers = Callable[[str, int], list[str]]
"""The addresses of a name; the number counts the questions for IPv4 from 0."""

_TYPES = {1: 4, 28: 6}  # A and AAAA, and the version of their addresses


class _Server(asyncio.DatagramProtocol):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport does not inherit from its interface.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._reply(data), peer)

    def _reply(self, data: bytes) -> bytes:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[12 : at + 5]
        (kind,) = struct.unpack("!H", question[-4:-2])
        found = [
            address
            for address in map(
                ipaddress.ip_address, self._answers(".".join(labels), self._asked)
            )
            if address.version == _TYPES.get(kind)
        ]
        if kind == 1:
            self._asked += 1
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0)
        # Each answer points back at the question's name and may be kept for 0 seconds.
        records = [
            struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(address.packed))
            + address.packed
            for address in found
        ]
        return head + question + b"".join(records)


@asynccontextmanager
async def name_server(answers: Answers) -> AsyncIterator[None]:
    """Answer on 127.0.0.1, port 53."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Server(answers), local_addr=("127.0.0.1", 53)
    )
    try:
        yield
    finally:
        transport.close()

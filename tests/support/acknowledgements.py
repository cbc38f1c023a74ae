"""A way to a broker that watches what is published and what is acknowledged.

Reads MQTT's packets as they pass, on the wire: what it says does not rest on the client
under test. Can hold acknowledgements back, and cut every connection.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

FINISHED = """
SELECT e.id FROM event e JOIN mark m ON m.source_id = e.source_id
LEFT JOIN lane l ON l.plugin = m.plugin AND l.job_key = e.job_key
WHERE m.plugin = :plugin
AND (e.position <= m.position OR e.position <= l.cursor)
"""
"""The events that the store takes for delivered to a plugin."""
_PUBLISH, _PUBACK = 3, 4
_PATIENCE = 20.0  # s


@dataclass(slots=True)
class Watched:
    """What passed; events by their ids."""

    broker: int
    port: int = 0
    published: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    _held: asyncio.Event = field(default_factory=asyncio.Event)
    _is_holding: bool = False
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def hold(self) -> None:
        """Let no acknowledgement pass on the connections there are."""
        self._is_holding = True

    async def until_held(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self._held.wait()

    def cut(self) -> None:
        """Break every connection, and hold nothing back any more."""
        self._is_holding = False
        for writer in self._writers:
            writer.transport.abort()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection."""
        try:
            theirs, to_broker = await asyncio.open_connection("127.0.0.1", self.broker)
        except OSError:
            writer.close()
            return
        out: dict[int, str] = {}
        self._writers += [writer, to_broker]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carry(reader, to_broker, out))
            tasks.create_task(self._carry(theirs, writer, out))

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        out: dict[int, str],
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, size, body = await _packet(source)
                if self._passes(head, body, out):
                    target.write(head + size + body)
                    await target.drain()
        target.close()

    def _passes(self, head: bytes, body: bytes, out: dict[int, str]) -> bool:
        kind = head[0] >> 4
        if kind == _PUBLISH and (event := _event(head[0], body)):
            number, name = event
            out[number] = name
            self.published[name] += 1
        if kind == _PUBACK and int.from_bytes(body[:2]) in out:
            if self._is_holding:
                self._held.set()
                return False
            self.acknowledged.add(out.pop(int.from_bytes(body[:2])))
        return True


async def _packet(source: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    head = await source.readexactly(1)
    size, length, shift = b"", 0, 0
    while not size or size[-1] & 0x80:
        size += await source.readexactly(1)
        length |= (size[-1] & 0x7F) << shift
        shift += 7
    return head, size, await source.readexactly(length)


def _event(flags: int, body: bytes) -> tuple[int, str] | None:
    """Return packet id and event id of a published event, None for anything else."""
    length = int.from_bytes(body[:2])
    topic = body[2 : 2 + length]
    if b"/events/" not in topic or not flags & 0x06:
        return None
    at = 2 + length
    number = int.from_bytes(body[at : at + 2])
    # Properties come before the payload, which is the only thing with a brace first.
    payload = body[body.index(b'{"object"', at) :]
    return number, json.loads(payload)["id"]


@asynccontextmanager
async def watched(broker: int) -> AsyncIterator[Watched]:
    """Listen on a port of loopback for what is meant for a broker."""
    way = Watched(broker)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        way.cut()
        await asyncio.sleep(0)

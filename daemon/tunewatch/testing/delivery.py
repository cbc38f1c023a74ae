"""Answers on their way: whole, late, in drops, cut off, or never.

The only place that touches the connection. Knows no endpoint and no fault's reason.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

from tunewatch.testing.answers import Answer
from tunewatch.testing.faults import Fault, Manner

_DROPS = 20


async def deliver(
    request: web.BaseRequest,
    answer: Answer,
    fault: Fault | None,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Send an answer in the manner of the fault, if there is one."""
    sent = {**headers, **answer.headers, "Content-Type": answer.content_type}
    if fault is not None:
        sent |= fault.headers()
        if fault.manner is Manner.HANG:
            await asyncio.Event().wait()
        if fault.manner is Manner.RESET:
            reset(request)
        if fault.manner in (Manner.DRIP, Manner.CUT):
            return await _in_parts(request, answer, fault, sent)
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
    return web.Response(status=answer.status, body=answer.body, headers=sent)


def reset(request: web.BaseRequest) -> None:
    """Reset the connection of a request, so that its client sees an error."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # A linger time of zero makes closing a reset and not a polite end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _in_parts(
    request: web.BaseRequest, answer: Answer, fault: Fault, headers: dict[str, str]
) -> web.StreamResponse:
    body = answer.body
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    if fault.manner is Manner.CUT:
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    size = -(-len(body) // _DROPS) or 1
    for begin in range(0, len(body), size):
        await response.write(body[begin : begin + size])
        await asyncio.sleep(fault.seconds / _DROPS)
    await response.write_eof()
    return response

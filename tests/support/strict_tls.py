"""A receiver that wants a certificate of whoever connects, and says why it refuses one.

In threads and by the ssl module alone: asyncio's own server breaks off without a word.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class Strict:
    """What it got: the subjects of the certificates shown by those it let in."""

    port: int
    visitors: list[str] = field(default_factory=list)

    def url(self) -> str:
        return f"https://localhost:{self.port}/hook"


@contextmanager
def strict_receiver(context: ssl.SSLContext) -> Iterator[Strict]:
    """Receive on loopback until the block ends, one connection after another."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        strict = Strict(listening.getsockname()[1])
        thread = threading.Thread(
            target=_receive, args=(listening, context, strict), name="strict-receiver"
        )
        thread.start()
        try:
            yield strict
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # what waits for the next one ends
            thread.join()


def _receive(listening: socket.socket, context: ssl.SSLContext, strict: Strict) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        plain.settimeout(5)
        with context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        ) as opened:
            try:
                opened.do_handshake()
                _answer(opened, strict)
            except OSError:
                _linger(opened)


def _answer(opened: ssl.SSLSocket, strict: Strict) -> None:
    read = b""
    while b"\r\n\r\n" not in read:
        read += _more(opened)
    length = int(read.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = read.partition(b"\r\n\r\n")[2]
    while len(body) < length:
        body += _more(opened)
    shown: dict[str, Any] = opened.getpeercert() or {}
    strict.visitors.append(shown["subject"][0][0][1])
    opened.sendall(_ANSWER)


def _more(opened: ssl.SSLSocket) -> bytes:
    """Return what comes next. Raises OSError if the other side has gone."""
    chunk = opened.recv(65_536)
    if not chunk:
        raise ConnectionResetError("it went away before it had asked")
    return chunk


def _linger(opened: ssl.SSLSocket) -> None:
    """Wait until the other side has gone: a reset would overtake the alert."""
    try:
        opened.shutdown(socket.SHUT_WR)
        while os.read(opened.fileno(), 65_536):
            pass
    except OSError:
        pass

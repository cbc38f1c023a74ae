"""A service manager as far as a daemon sees it: a datagram socket that keeps all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """One message, and when it came."""

    at: float  #: monotonic s
    fields: dict[str, str]


@dataclass(slots=True)
class ServiceManager:
    """What was said to it, in order."""

    address: str  #: what goes into $NOTIFY_SOCKET
    notes: list[Note] = field(default_factory=list)

    def all(self, key: str) -> list[Note]:
        """Return the messages with this field."""
        return [note for note in list(self.notes) if key in note.fields]

    @property
    def order(self) -> list[str]:
        """Return what turned, in order: READY, RELOADING, STOPPING."""
        turns = ("READY", "RELOADING", "STOPPING")
        return [key for note in list(self.notes) for key in note.fields if key in turns]

    @property
    def status(self) -> str:
        """Return the newest line for people."""
        return self.all("STATUS")[-1].fields["STATUS"]


@contextmanager
def service_manager(address: str) -> Iterator[ServiceManager]:
    """Listen at a path, or with a leading @ at an abstract name."""
    manager = ServiceManager(address)
    where = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(where)
        server.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    text = server.recv(65536).decode()
                except TimeoutError:
                    continue
                pairs = (line.partition("=")[::2] for line in text.splitlines())
                manager.notes.append(Note(time.monotonic(), dict(pairs)))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield manager
        finally:
            over.set()
            listener.join()

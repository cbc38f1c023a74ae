"""What the service manager is told: systemd's notification protocol, and no more of it.

One datagram a message to $NOTIFY_SOCKET, a path or an abstract name. Without such a
socket nothing is told. Knows neither what a daemon does nor when it is ready.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import structlog

LONGEST = 400
"""Characters of a status: it is one line of `systemctl status`."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Notifier:
    """Tells the service manager; `watchdog` is how often it wants a sign of life, s."""

    address: str | None = None
    watchdog: float | None = None
    _is_failing: bool = False

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Return the notifier that the environment asks for, and take it out there.

        What a process of ours starts must not speak in our name.
        """
        address = environ.pop("NOTIFY_SOCKET", None)
        watchdog = _watchdog(environ)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environ.pop(name, None)
        return cls(address or None, watchdog)

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants to know."""
        return self.address is not None

    def ready(self, status: str) -> None:
        """Say that it works: after the start, and after each reload."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` follows."""
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={stamp}")

    def stopping(self, status: str) -> None:
        """Say that it ends."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Say how it is, for people."""
        self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Give the sign of life that the watchdog waits for."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for so much more time from now on, to start or to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, message: str) -> None:
        if self.address is None:
            return
        name = self.address
        where = f"\0{name[1:]}" if name.startswith("@") else name
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as to:
                to.sendto(message.encode(), where)
        except OSError as error:
            if not self._is_failing:
                reason = error.strerror or type(error).__name__
                _log.warning("service_manager.not_told", reason=reason.lower())
            self._is_failing = True
        else:
            self._is_failing = False


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the seconds of the watchdog, None if there is none for this process."""
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None


def _line(status: str) -> str:
    return " ".join(status.split())[:LONGEST]

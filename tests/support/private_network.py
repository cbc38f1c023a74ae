"""A network namespace of our own, with loopback alone, in which packets are dropped.

Unlike a wire that is cut, nobody is in between: both ends send again and again, and
what one of them says last never arrives. It takes root to make one.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_NETWORK = 0x40000000  # CLONE_NEWNET
_PATIENCE = 10.0  # s


@contextmanager
def private_network() -> Iterator[None]:
    """Be in one until the block ends: this thread, and whatever it starts meanwhile."""
    assert os.geteuid() == 0, "a network namespace is made by root alone"
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        assert libc.unshare(_NETWORK) == 0, os.strerror(ctypes.get_errno())
        try:
            _ip("link", "set", "lo", "up")
            # What is local is looked up first of all: there must be something before.
            _ip("rule", "add", "pref", "100", "lookup", "local")
            _ip("rule", "del", "pref", "0")
            yield
        finally:
            code = libc.setns(before.fileno(), _NETWORK)
            assert code == 0, os.strerror(ctypes.get_errno())


@dataclass(slots=True)
class Line:
    """The way to an address of a server that only one client uses; see `wire.Wire`."""

    address: str

    def cut(self) -> None:
        """Drop every packet, in both directions."""
        for which in ("to", "from"):
            _ip("rule", "add", which, self.address, "pref", "10", "blackhole")

    def mend(self) -> None:
        """Let packets pass again: whoever sent what was lost sends it again."""
        for which in ("to", "from"):
            _ip("rule", "del", which, self.address, "pref", "10", "blackhole")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=_PATIENCE)

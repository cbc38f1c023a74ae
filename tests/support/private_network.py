"""A network namespace of our own, with loopback alone, in which packets are dropped.

Unlike a wire that is cut, nobody is in between: both ends send again and again, and
what one of them says last never arrives. It takes root to make one.
"""

from __future__ import annotations

import ctypes
import ipaddress
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
    is_thin: bool = False

    def cut(self) -> None:
        """Drop every packet, in both directions."""
        for which in ("to", "from"):
            _ip("rule", "add", which, self.address, "pref", "10", "blackhole")

    def thin(self) -> None:
        """Drop every second packet by chance, in both directions."""
        self.is_thin = True
        _run("tc", "qdisc", "replace", "dev", "lo", "clsact")
        program = _half_of(int(ipaddress.IPv4Address(self.address)))
        _run("tc", "filter", "add", *self._place, "bpf", "da", "bytecode", program)

    def mend(self) -> None:
        """Let packets pass again: whoever sent what was lost sends it again."""
        if self.is_thin:
            self.is_thin = False
            _run("tc", "filter", "del", *self._place)
            return
        for which in ("to", "from"):
            _ip("rule", "del", which, self.address, "pref", "10", "blackhole")

    @property
    def _place(self) -> list[str]:
        number = self.address.rpartition(".")[2]
        return ["dev", "lo", "ingress", "pref", number]


def _half_of(address: int) -> str:
    """Return a program of the kernel's old packet filter, as tc takes it.

    Many kernels can do that, and have no queue that loses packets.
    """
    passes, drops = "6 0 0 0", "6 0 0 2"  # TC_ACT_OK, TC_ACT_SHOT
    steps = [
        "40 0 0 12",  # which protocol
        "21 0 7 2048",  # not IPv4: passes
        "32 0 0 26",  # from whom
        f"21 2 0 {address}",
        "32 0 0 30",  # to whom
        f"21 0 3 {address}",  # to another: passes
        "32 0 0 4294963256",  # a random number
        "69 0 1 1",  # odd: dropped
        drops,
        passes,
    ]
    return ",".join([str(len(steps)), *steps])


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=_PATIENCE)

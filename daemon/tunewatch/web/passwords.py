"""Whether a password is a user's, without holding up anybody else.

Such hashes are slow on purpose: they are looked at one at a time in a thread of their
own, and what was right once is remembered. Knows no header.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

LONGEST = 72
"""Bytes of a password that count, by the definition of bcrypt."""
WAITING = 16
"""Passwords that may wait to be looked at."""
REMEMBERED = 256
"""Right passwords that are not looked at again."""


class Busy(Exception):
    """So many passwords wait that one more is not looked at."""


class Passwords:
    """Looks at passwords while it is open."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._waiting = 0
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}

    def __enter__(self) -> Passwords:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def remembers(self, users: Mapping[str, str], name: str, password: bytes) -> bool:
        """Whether this was right before, for a user whose hash is the same since."""
        kept = users.get(name)
        return kept is not None and self._digest(name, kept, password) in self._right

    async def are_right(
        self, users: Mapping[str, str], name: str, password: bytes
    ) -> bool:
        """Look at a password. Raises Busy.

        For a name that nobody has it takes as long.
        """
        if self._waiting >= WAITING:
            raise Busy
        kept = users.get(name)
        self._waiting += 1
        try:
            is_right = await asyncio.get_running_loop().run_in_executor(
                self._threads, _matches, kept or self._any(users, name), password
            )
        finally:
            self._waiting -= 1
        if kept is None or not is_right:
            return False
        self._right[self._digest(name, kept, password)] = None
        while len(self._right) > REMEMBERED:
            del self._right[next(iter(self._right))]
        return True

    def _any(self, users: Mapping[str, str], name: str) -> str:
        """Return a user's hash for who is none, always the same one for a name.

        Users' hashes may differ in cost: a fixed one would tell who is a user.
        """
        kept = sorted(users.values())
        drawn = hmac.digest(self._secret, name.encode(), "sha256")
        return kept[int.from_bytes(drawn[:8], "big") % len(kept)]

    def _digest(self, name: str, kept: str, password: bytes) -> bytes:
        parts = (name.encode(), kept.encode(), password)
        whole = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hmac.digest(self._secret, whole, "sha256")


def _matches(kept: str, password: bytes) -> bool:
    import bcrypt  # only where there are users

    try:
        return bcrypt.checkpw(password[:LONGEST], kept.encode())
    except ValueError:
        return False

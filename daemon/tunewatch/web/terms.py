"""On which terms the server answers: TLS, passwords, headers, as a file says it now.

The file and those it names are looked at again and again. What can be used is used from
the next connection on; what cannot is told, and all stays as it was. A file that is
being written may say less than it will: nothing that was asked of callers is dropped
while the server runs. Whatever touches a file is done aside: it may lie on a mount that
is away.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import structlog

from tunewatch.api.answers import PartState
from tunewatch.clock import Clock
from tunewatch.config.web_file import TlsServer, WebFile
from tunewatch.config.web_reading import read_web_file
from tunewatch.settings import ConfigError, Mistake
from tunewatch.web.aside import begun
from tunewatch.web.certificate import validity_of
from tunewatch.web.tls import context_of

LOOK = 1.0
"""s between looks at the files."""
PATIENCE = 5.0
"""s for the files to be read."""

T = TypeVar("T")

Stamp: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of callers. Without a file: nothing but what the guard asks."""

    said: WebFile = field(default_factory=WebFile)
    context: ssl.SSLContext | None = None
    ends: float | None = None  #: unix seconds until which the certificate holds
    authorities: bytes = b""  #: who signs the certificates that clients show
    stamp: Stamp = ()  #: of the files, from before they were read

    @property
    def users(self) -> dict[str, str]:
        """Hashes of passwords by name."""
        return self.said.basic_auth_users

    @property
    def names(self) -> tuple[str, ...]:
        """Names of which a client's certificate must have one; none: any will do."""
        tls = self.said.tls_server_config
        return () if tls is None else tls.client_allowed_sans


def read_terms(path: Path, *, patience: float = PATIENCE) -> Terms:
    """Return what a file says. Raises ConfigError, also if that takes too long."""
    try:
        return begun("web_config", partial(_read, path)).result(patience)
    except TimeoutError:
        raise ConfigError([_no_answer(path, patience)]) from None


def _no_answer(path: Path, patience: float) -> Mistake:
    text = (
        "wanted it, and the files it names, to be read within "
        f"{patience:g} s; found no answer. Look whether the disk they lie on is there"
    )
    return Mistake(where=str(path), key="", text=text)


def _read(path: Path) -> Terms:
    stamp: Stamp = (_stamp_of(path),)
    said = read_web_file(path)
    tls = said.tls_server_config
    if tls is None:
        return Terms(said, stamp=stamp)
    stamp += tuple(_stamp_of(file) for file in tls.files)
    context = context_of(tls, said_in=path)
    valid = validity_of(tls.cert_file)
    ends = None if valid is None else valid.ends
    return Terms(said, context, ends, _authorities(tls), stamp)


def _authorities(tls: TlsServer) -> bytes:
    if tls.client_ca_file is None or tls.client_auth_type == "NoClientCert":
        return b""
    try:
        return tls.client_ca_file.read_bytes()
    except OSError:
        return b""  # it went since it was read: this reading does not count


def are_others_let_in(before: Terms, now: Terms) -> bool:
    """Whether a connection that was let in before might not be now.

    Names are looked at with every request, and so are passwords and tokens.
    """
    if now.context is None:
        return False
    mode = ssl.CERT_NONE if before.context is None else before.context.verify_mode
    is_stricter = now.context.verify_mode > mode
    return is_stricter or now.authorities != before.authorities


def _stamp_again(path: Path, terms: Terms) -> Stamp:
    tls = terms.said.tls_server_config
    files = () if tls is None else tls.files
    return tuple(_stamp_of(one) for one in (path, *files))


def _stamp_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)


class TermsFile:
    """The terms in force, and how the last reading of their file went."""

    def __init__(
        self,
        path: Path | None,
        *,
        told: Callable[[bool, float | None], None] = lambda _ok, _ends: None,
        patience: float = PATIENCE,
    ) -> None:
        """Read the file; without one the terms are empty for good.

        `told` hears after each reading whether it could be used, and until when the
        certificate in force holds; files that take longer than `patience` seconds to
        be read cannot be used. Raises ConfigError.
        """
        self._path = path
        self._told = told
        self._patience = patience
        self._reading: Future[Any] | None = None  #: what was done aside last
        self._before: Stamp = ()  #: at the look before
        self._since: float | None = None
        self._is_expired = False
        self._reason: str | None = None
        self.adopt: Callable[[Terms], Awaitable[None]] = _nowhere
        self.now = Terms()
        if path is not None:
            self.now = read_terms(path, patience=patience)
            self._before = self.now.stamp

    def born(self) -> None:
        """Tell how the first reading went."""
        if self._path is not None:
            self._watch_end()
            self._told(True, self.now.ends)

    def state(self) -> PartState | None:
        """Return how it is; None without a file."""
        if self._path is None:
            return None
        if self._reason is not None:
            return PartState(state="refused", reason=self._reason, since=self._since)
        if self._is_expired:
            reason = "the certificate has expired: renew it and write it to cert_file"
            return PartState(state="expired", reason=reason, since=self.now.ends)
        return PartState(state="up")

    async def keep(self, clock: Clock) -> NoReturn:
        """Look at the files for as long as the server runs."""
        while True:
            await clock.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Read what is another one than last time, once it has been so for a look."""
        if self._path is None:
            return
        self._watch_end()
        try:
            if (terms := await self._other(self._path)) is not None:
                await self.adopt(terms)
                self._accept(terms)
        except ConfigError as error:
            self._refuse(str(error))
        except TimeoutError:  # an OSError, too
            self._refuse(str(_no_answer(self._path, self._patience)))
        except OSError as error:
            self._refuse(f"cannot listen anew: {(error.strerror or 'OSError').lower()}")

    async def _other(self, path: Path) -> Terms | None:
        """Return other terms if there are any. Raises ConfigError, TimeoutError."""
        stamp = await self._aside(partial(_stamp_again, path, self.now))
        before, self._before = self._before, stamp
        is_same = stamp == self.now.stamp and self._reason is None
        if is_same or stamp != before:
            return None
        return await self._aside(partial(_read_again, path, self.now))

    async def _aside(self, work: Callable[[], T]) -> T:
        """Do something with the files. Raises TimeoutError if that takes too long.

        One that hangs is not joined by another one: it ends when the files answer.
        """
        if self._reading is not None and not self._reading.done():
            raise TimeoutError
        self._reading = reading = begun("web_config", work)
        async with asyncio.timeout(self._patience):
            return await asyncio.wrap_future(reading)

    def _refuse(self, reason: str) -> None:
        if self._reason is None:
            self._since = time.time()
        if reason != self._reason:
            _log.error("web_config.refused", reason=reason)
        self._reason = reason
        self._told(False, self.now.ends)

    def _accept(self, terms: Terms) -> None:
        self.now, self._before = terms, terms.stamp
        self._reason = self._since = None
        _log.info("web_config.read", file=str(self._path), users=len(terms.users))
        self._told(True, terms.ends)
        self._watch_end()

    def _watch_end(self) -> None:
        """Say once that the certificate has expired; another one ends that."""
        ends = self.now.ends
        is_over = ends is not None and ends < time.time()
        if is_over and not self._is_expired:
            _log.warning("web_config.expired", file=str(self._path), expired=ends)
        self._is_expired = is_over


def _read_again(path: Path, before: Terms) -> Terms | None:
    """Return what a file says now. Raises ConfigError if callers are asked for less.

    None if it was exchanged meanwhile: a part of what was read may be the older one.
    """
    now = _read(path)
    mistakes = [
        Mistake(where=str(path), key=key, text=_LESS) for key in _lost(before, now)
    ]
    if mistakes:
        raise ConfigError(mistakes)
    return now if _stamp_again(path, now) == now.stamp else None


_LESS = (
    "wanted at least what is asked of callers since the start; found less. Restart to "
    "ask for less"
)


def _lost(before: Terms, now: Terms) -> Iterator[str]:
    """Yield the keys by which less is asked of callers than before."""
    if before.users and not now.users:
        yield "basic_auth_users"
    if before.context is None:
        return
    if now.context is None:
        yield "tls_server_config"
        return
    if before.context.verify_mode > now.context.verify_mode:
        yield "tls_server_config.client_auth_type"
    if before.names and not now.names:
        yield "tls_server_config.client_allowed_sans"
    if before.context.minimum_version > now.context.minimum_version:
        yield "tls_server_config.min_version"


async def _nowhere(_terms: Terms) -> None:
    """Nobody serves by them yet."""
